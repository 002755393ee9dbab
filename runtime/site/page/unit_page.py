"""One unit's page: charts first, then what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.site.report.unit_section import UnitSection
from runtime.web.markup import Markup, el, joined

if TYPE_CHECKING:
    from runtime.site.queries.history import UnitHistory
    from runtime.site.report.wording import Wording

SPANS_DAYS = (30, 7, 90)
"""What one may look back; the first unless one asks."""


def unit_body(history: UnitHistory, wording: Wording, days: int) -> Markup:
    """Everything below the unit's own live tile."""
    story = UnitSection(history, wording)
    links = (
        el(
            "a",
            wording.t("unit.days", n=span),
            href=f"?days={span}",
            aria_current="true" if span == days else None,
        )
        for span in sorted(SPANS_DAYS)
    )
    return joined(
        (
            el("nav", *links, class_="spans", aria_label=wording.t("unit.span")),
            story.alarms() if history.alarms else None,
            story.charts(),
            story.models(),
            story.reasons(),
            story.happenings(),
            story.exams(),
        )
    )
