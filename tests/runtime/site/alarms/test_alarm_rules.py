"""What is wrong, from the books: each finding and its alarm, once, and over when it is over."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.image.outcome import Flag
from runtime.site.alarms.alarm_reconciliation import reconcile, told, untold
from runtime.site.alarms.alarm_rules import AlarmKind, AlarmLimits, findings
from runtime.site.control_charts.chart_rules import RULES
from runtime.site.control_charts.charting import chart_exams
from runtime.site.control_charts.control_chart import ControlChart
from runtime.site.ingest.batch_writer import enter
from runtime.site.queries.fleet import Fleet
from runtime.site.store.site_clock import DAY_MS, HOUR_MS
from runtime.site.store.store import Store
from tests.support.site_units import NOON_MS, SaidUnit


@pytest.fixture
def books(tmp_path):
    """An open store in a SQLite file."""
    with Store(str(tmp_path / "site.db")) as store:
        yield store


def hear(store, *arrivals) -> None:
    """Enters arrivals as one batch."""
    with store.writing() as connection:
        enter(connection, arrivals, now_ms=NOON_MS)


def found(store, *, now_ms=NOON_MS + 1000, expected=None) -> dict:
    """Findings by kind."""
    every = findings(
        Fleet(store).summary(now_ms),
        limits=AlarmLimits(),
        drifts={},
        expected=expected or {},
        foreign_last_hour=0,
    )
    for finding in every:
        assert finding.saw
        assert finding.advice
        assert finding.since_ms <= now_ms
    return {finding.kind: finding for finding in every}


def test_a_unit_in_order_gives_no_finding(books):
    """Silence of the watch is the normal case."""
    unit = SaidUnit()
    hear(books, unit.status(), unit.health(), unit.exam(1))
    assert found(books) == {}


def test_a_unit_with_its_clock_years_off_is_told_with_the_offset(books):
    """How much, and which way."""
    unit = SaidUnit()
    unit.clock_error_ms = -1000 * DAY_MS
    hear(books, unit.health())
    finding = found(books)[AlarmKind.CLOCK_OFF]
    assert "behind" in finding.saw
    assert finding.data["offset_s"] == pytest.approx(86_400_000, rel=1e-6)


def test_two_units_under_one_name_are_told_for_an_hour(books):
    """Until somebody has renamed one and nothing more was seen."""
    one, other = SaidUnit(boot="a"), SaidUnit(boot="b")
    hear(books, one.status(), other.status(), one.status(at_ms=NOON_MS + 5))
    assert AlarmKind.TWO_UNITS_ONE_NAME in found(books)
    assert AlarmKind.TWO_UNITS_ONE_NAME not in found(books, now_ms=NOON_MS + 2 * HOUR_MS)


def test_a_ledger_that_went_back_is_told_for_a_day(books):
    """From where to where; a restart that counts on is none."""
    unit = SaidUnit(ledger="disk")
    hear(books, unit.status(), *[unit.exam(n) for n in range(1, 6)])
    hear(books, unit.reboot("boot-2").status(at_ms=NOON_MS + 5))
    assert AlarmKind.LEDGER_ROLLED_BACK not in found(books)
    hear(books, SaidUnit(boot="boot-3", ledger="disk", first_seq=3).status(at_ms=NOON_MS + 9))
    finding = found(books)[AlarmKind.LEDGER_ROLLED_BACK]
    assert finding.data == {"last_seq": 2, "known_seq": 5}
    assert AlarmKind.LEDGER_ROLLED_BACK not in found(books, now_ms=NOON_MS + 2 * DAY_MS)


def chart_all(store, expected=None) -> None:
    """Charts every final exam, as the watch does."""
    charts = {measure: ControlChart(rules) for measure, rules in RULES.items()}
    while chart_exams(store, charts, expected or {}, now_ms=NOON_MS):
        pass


def day(unit, first, count, every) -> list:
    """Exams of which every so manieth is priority."""
    return [
        unit.exam(n, flag=Flag.PRIORITY if n % every == 0 else Flag.NONE)
        for n in range(first, first + count)
    ]


def test_a_model_that_flags_twice_as_often_is_told_with_its_figures(books):
    """Charted exam by exam, each once, however often the watch looks."""
    unit = SaidUnit()
    hear(books, unit.status(), *day(unit, 0, 400, 10))
    chart_all(books)
    chart_all(books)
    assert AlarmKind.RATE_RISEN not in found(books)
    hear(books, *day(unit, 400, 300, 4))
    chart_all(books)
    finding = found(books)[AlarmKind.RATE_RISEN]
    assert finding.subject == "priority"
    assert finding.data["exams"] <= 310
    assert "normal here is 1" in finding.saw


def test_a_revision_of_a_charted_exam_is_not_charted_again(books):
    """Final, opened again, final: one exam."""
    unit = SaidUnit()
    hear(books, unit.exam(1))
    chart_all(books)
    hear(books, unit.exam(1, revision=2, final=False), unit.exam(1, revision=3))
    chart_all(books)
    (summary,) = Fleet(books).summary(NOON_MS).units
    assert summary.charts["priority"].exams == 1


def test_a_rate_far_from_the_packages_is_told_even_if_it_never_changed(books):
    """Wrong from the first day: the baseline itself is the finding."""
    unit = SaidUnit()
    expected = {("test", "1.0.0", "balanced"): 0.1}
    hear(books, unit.status(), *day(unit, 0, 220, 3))
    chart_all(books, expected)
    assert AlarmKind.RATE_UNEXPECTED in found(books, expected=expected)


def test_an_alarm_is_opened_once_told_once_and_closed(books):
    """Looking again opens nothing anew; what was told is not told twice; its end is told."""
    unit = SaidUnit()
    hear(books, unit.status())
    late = NOON_MS + HOUR_MS

    def look(now_ms) -> tuple[int, int]:
        every = list(found(books, now_ms=now_ms).values())
        with books.writing() as connection:
            return reconcile(connection, "st-anna", every, now_ms=now_ms)

    def waiting() -> list:
        with books.reading() as connection:
            return untold(connection, "st-anna", "posted_version")

    assert look(late) == (1, 0)
    assert look(late + 1000) == (0, 0)
    ((alarm, version),) = waiting()
    with books.writing() as connection:
        told(connection, "posted_version", [(alarm.alarm_no, version)])
    assert waiting() == []
    hear(books, unit.status(at_ms=late + 2000))
    assert look(late + 3000) == (0, 1)
    ((closed, _),) = waiting()
    assert closed.closed_ms == late + 3000
    assert look(late + 3500) == (0, 0)
