"""What an alarm saw, in the reader's language: every kind fills its sentence with its figures."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")
pytest.importorskip("starlette", reason="extra [site] is not installed")

from runtime.site.alarms.alarm_rules import AlarmKind
from runtime.site.queries.fleet_summary import AlarmEntry
from runtime.site.report.alarm_words import saw_of
from runtime.site.report.wording import Wording, site_catalogues
from runtime.web.languages import LANGUAGES
from tests.support.site_units import NOON_MS

WORDS = {name: Wording(catalogue) for name, catalogue in site_catalogues().items()}
FIGURES = {
    AlarmKind.UNIT_SILENT: ("", {"last_state": "online"}),
    AlarmKind.NUMBERS_LOST: ("", {"lost": 4}),
    AlarmKind.LEDGER_ROLLED_BACK: ("", {"last_seq": 20, "known_seq": 30}),
    AlarmKind.CLOCK_OFF: ("", {"offset_s": 99.5}),
    AlarmKind.TWO_UNITS_ONE_NAME: ("", {}),
    AlarmKind.RATE_RISEN: (
        "priority",
        {"count": 20, "exams": 40, "share": 0.5, "baseline": 0.1},
    ),
    AlarmKind.RATE_FALLEN: (
        "priority",
        {"count": 1, "exams": 400, "share": 0.0025, "baseline": 0.1},
    ),
    AlarmKind.RATE_JUMPED: ("not_assessed", {"count": 20, "exams": 50, "baseline": 0.1}),
    AlarmKind.RATE_UNEXPECTED: ("priority", {"own": 0.3, "package": 0.1}),
    AlarmKind.DRIFT: ("scanner", {"score": 0.31, "brightness": 0.4}),
    AlarmKind.FOREIGN_MESSAGES: ("", {"messages": 12, "why": "not_json"}),
    AlarmKind.SERVICE_SILENT: ("site-2", {}),
    AlarmKind.UNIT_CANNOT_JUDGE: ("worker_not_ready", {}),
    AlarmKind.ROWS_PARKED: ("", {"parked": 3}),
    AlarmKind.PRIORITY_UNACKNOWLEDGED: ("", {"exams": 2}),
    AlarmKind.RATE_OUT_OF_BOUNDS: (
        "not_assessed",
        {"count": 6, "exams": 10, "share": 0.6, "bound": 0.3},
    ),
    AlarmKind.BROKER_QUEUE_ABANDONED: ("site-2", {}),
    AlarmKind.EXPIRY_MISSING: ("", {}),
}


def alarm(kind, subject="", **data) -> AlarmEntry:
    """An alarm that says `in English` in English."""
    return AlarmEntry(
        alarm_no=1,
        site="st-anna",
        unit="mammo-1",
        kind=kind,
        subject=subject,
        severity="warning",
        since_ms=NOON_MS,
        opened_ms=NOON_MS,
        changed_ms=NOON_MS,
        closed_ms=None,
        saw="in English",
        advice="",
        data=data,
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", AlarmKind)
def test_every_kind_of_alarm_says_what_it_saw_in_every_language(kind, language):
    """Its figures fill the sentence; nothing is left open, nothing falls back to English."""
    subject, data = FIGURES[kind]
    said = saw_of(alarm(kind, subject, **data), WORDS[language])
    assert "in English" not in said
    assert "{" not in said


def test_figures_and_codes_are_written_as_the_language_does():
    """Shares in percent, indexes with their names, a subject in words."""
    subject, data = FIGURES[AlarmKind.RATE_RISEN]
    risen = saw_of(alarm(AlarmKind.RATE_RISEN, subject, **data), WORDS["de"])
    assert risen == (
        "Priorisierte Untersuchungen: seitdem 20 von 40 (50,0 %); normal sind hier 10,0 %."
    )
    subject, data = FIGURES[AlarmKind.DRIFT]
    drift = saw_of(alarm(AlarmKind.DRIFT, subject, **data), WORDS["en"])
    assert drift.endswith("Stability index: Scores 0.31, Brightness 0.40.")


@pytest.mark.parametrize(
    ("kind", "data"), [("rate_risen", {"count": 3}), ("of_a_newer_version", {"x": 1})]
)
def test_an_alarm_of_other_software_keeps_its_english_words(kind, data):
    """Too few figures, or a kind without a sentence: marked as English, and escaped."""
    assert saw_of(alarm(kind, **data), WORDS["fr"]) == '<span lang="en">in English</span>'
