"""A priority flag is seen, or it is said that nobody saw it: each once."""

from __future__ import annotations

from runtime.image.reasons import Reason
from tests.support.builders import forget_exams, result, unassessed

STUDY = "1.2.3"


def kinds(bench):
    return [message["event"] for message in bench.said()]


def test_a_priority_is_acknowledged_once(make_bench):
    """Two taps on the button make one event; it names the exam's pseudonym and the time it took."""
    bench = make_bench()
    key = bench.exam(STUDY, score=0.9)
    bench.ahead_ms = 5000
    assert bench.acknowledgement.acknowledge(key)
    assert not bench.acknowledgement.acknowledge(key)
    (event,) = bench.said()
    assert (event["event"], event["exam_key"]) == ("acknowledged", key)
    assert 4 < event["data"]["seconds_since_priority"] < 60
    assert STUDY not in str(event)


def test_there_is_nothing_to_acknowledge_without_a_priority(make_bench):
    """An exam without priority, or one that is not there, makes no event."""
    bench = make_bench()
    key = bench.exam(STUDY, score=0.1)
    assert not bench.acknowledgement.acknowledge(key)
    assert not bench.acknowledgement.acknowledge("f" * 32)
    assert bench.said() == []


def test_what_nobody_saw_in_time_is_published_once(make_bench):
    """Unacknowledged after the time-out, not before, not twice; a late look is said as well."""
    bench = make_bench(overdue_after_s=60)
    key = bench.exam(STUDY, score=0.9)
    assert bench.acknowledgement.report_overdue() == 0
    bench.ahead_ms = 61_000
    assert bench.acknowledgement.report_overdue() == 1
    assert bench.acknowledgement.report_overdue() == 0
    assert bench.acknowledgement.acknowledge(key)
    assert kinds(bench) == ["unacknowledged", "acknowledged"]


def test_what_was_seen_is_never_overdue(make_bench):
    """After the button the clock may run on."""
    bench = make_bench(overdue_after_s=60)
    bench.acknowledgement.acknowledge(bench.exam(STUDY, score=0.9))
    bench.ahead_ms = 3_600_000
    assert bench.acknowledgement.report_overdue() == 0
    assert kinds(bench) == ["acknowledged"]


def test_further_revisions_of_a_priority_do_not_ask_again(make_bench):
    """The first priority view starts the clock; the views after it ask nobody to look again."""
    bench = make_bench(overdue_after_s=60)
    bench.receive(STUDY, "RCC")
    bench.judge(result(0.9))
    assert bench.acknowledgement.acknowledge(bench.message_factory.exam_key(STUDY))
    bench.receive(STUDY, "LCC")
    bench.judge(unassessed(Reason.UNDECODABLE))
    bench.ahead_ms = 61_000
    assert bench.acknowledgement.report_overdue() == 0
    assert kinds(bench) == ["acknowledged"]


def test_the_story_outlives_the_outbox_and_ends_with_the_exam(make_bench):
    """Published times stay after the messages are gone; retention takes all of an exam's rows."""
    bench = make_bench()
    key = bench.exam(STUDY, score=0.9, accession="A-1")
    bench.acknowledgement.acknowledge(key)
    at_ms = bench.clock_ms()
    bench.ledger.delivered([row.seq for row in bench.ledger.waiting(100)], at_ms)
    bench.ledger.transact(lambda tx: tx.outbox.forget_before(at_ms + 1))
    timeline = bench.reader.timeline(key)
    whats = [happening.what for happening in timeline.happenings]
    assert (whats.count("received"), whats.count("judged"), whats.count("decided")) == (4, 4, 4)
    assert whats.count("published") == 4
    assert whats.count("acknowledged") == 1
    assert [one.at_ms for one in timeline.happenings] == sorted(
        h.at_ms for h in timeline.happenings
    )
    assert "A-1" not in str(timeline)
    assert STUDY not in str(timeline)
    assert bench.ledger.transact(forget_exams, at_ms + 10_000) == 1
    assert bench.reader.timeline(key) is None
    assert bench.ledger.transact(lambda tx: tx.exam_history.overdue(at_ms + 10_000)) == []
