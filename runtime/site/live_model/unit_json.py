"""What is known of a unit, for machines: everything but its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from pydantic import BaseModel

    from runtime.site.live_model.known_unit import KnownUnit


def unit_json(unit: KnownUnit) -> dict[str, Any]:
    """What `watch --json` says of a unit; as JSON takes it."""
    book = unit.book
    return {
        "unit": unit.unit,
        "state": unit.state.value if unit.state else None,
        "reasons": list(unit.status.reasons) if unit.status else [],
        "boot_id": unit.boot_id,
        "generation": unit.generation,
        "ledger_id": unit.ledger_id,
        "first_heard": utc_text(unit.first_heard_ms),
        "last_heard": utc_text(unit.last_heard_ms) if unit.last_heard_ms else None,
        "seq": {
            "first": book.first,
            "highest": book.highest,
            "last_seq": book.last_known,
            "behind": book.behind,
            "missing": book.missing + book.forgotten_missing,
            "gaps": [[gap.first, gap.last] for gap in book.gaps()],
        },
        "counts": dict(unit.counts),
        "flags": unit.flags,
        "waiting": unit.waiting,
        "skew_ms": unit.skew_ms,
        "latency_ms": unit.latency_ms,
        "status": _plain(unit.status),
        "health": _plain(unit.health),
        "exams": [_plain(exam) for exam in unit.exams.values()],
        "views": [_plain(view) for view in unit.views.values()],
        "events": [_plain(event) for event in unit.events],
        "drift": [_plain(drift) for drift in unit.drifts.values()],
    }


def _plain(message: BaseModel | None) -> dict[str, Any] | None:
    return None if message is None else message.model_dump(mode="json", by_alias=True)
