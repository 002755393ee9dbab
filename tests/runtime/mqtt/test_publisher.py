"""The publisher against real brokers: order, nothing lost, nothing twice, honest state."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.ledger.ledger import LedgerError
from runtime.mqtt.session import STATUS_LOOK_S
from runtime.timing.backoff import Backoff
from tests.support.brokers import free_port
from tests.support.builders import exam_flag, image, result
from tests.support.fake_broker import FakeBroker, RudeServer
from tests.support.named_points import named_points
from tests.support.unit_under_test import MESSAGE_FACTORY, ROOT, now_ms
from tests.support.waiting import wait_until

# --- the ordinary day -------------------------------------------------------------------------


def test_birth_then_backlog_then_news_then_offline(broker, unit, subscribe):
    """Status comes first, the rows follow in order without gap, a clean stop says offline."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port)
    publisher.say(50)
    publisher.start()
    wait_until(lambda: not subscriber.gaps(50), what="the backlog")
    last = publisher.say_exam()
    wait_until(lambda: not subscriber.gaps(last), what="news")
    wait_until(publisher.all_delivered, what="delivered")
    publisher.publisher.stop()
    wait_until(lambda: subscriber.statuses()[-1] == "offline", what="offline")
    assert subscriber.seen()[0].topic == "status"
    assert subscriber.statuses() == ["online", "offline"]
    assert [seq for seq, _ in subscriber.numbered()] == list(range(1, last + 1))
    assert subscriber.topics("status")[-1].body["last_seq"] == last
    exam = subscriber.topics(f"exam/{MESSAGE_FACTORY.exam_key('1.2.3')}")[0]
    assert exam.qos == 1
    assert exam.properties["ContentType"] == "application/json"
    assert 0 < exam.properties["MessageExpiryInterval"] <= 3600


def test_status_exam_and_health_are_retained_with_their_expiry(broker, unit, subscribe):
    """Who comes late learns the state, the current flags and the figures; events are not kept."""
    publisher = unit(broker.port).start()
    publisher.say(2)
    publisher.say_exam(revision=1)
    publisher.say_exam(revision=2)
    wait_until(publisher.all_delivered, what="delivered")
    late = subscribe(broker.port)
    wait_until(lambda: len(late.seen()) >= 3, what="retained messages")
    exam = f"exam/{MESSAGE_FACTORY.exam_key('1.2.3')}"
    assert {record.topic for record in late.seen()} == {"status", "health", exam}
    assert [record.body["revision"] for record in late.topics(exam)] == [2]
    assert late.topics(exam)[0].properties["MessageExpiryInterval"] <= 3600


def test_a_change_of_state_is_said_at_once(broker, unit, subscribe):
    """`announce` publishes a degraded state with its reason, and only if something changed."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port).start()
    publisher.publisher.announce()
    publisher.reasons = ("disk_low",)
    publisher.publisher.announce()
    wait_until(
        lambda: len(subscriber.statuses()) >= 2, timeout_s=0.9 * STATUS_LOOK_S, what="degraded"
    )
    assert subscriber.statuses() == ["online", "degraded"]
    assert subscriber.topics("status")[-1].body["reasons"] == ["disk_low"]


def test_a_ledger_that_fails_does_not_end_the_connection(broker, unit, subscribe):
    """The connection is what says so; what waits goes out once the ledger answers again."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port).start()
    answers = publisher.ledger.waiting

    def fails(*_args, **_options):
        raise LedgerError(Path("ledger.db"), "disk I/O error")

    publisher.ledger.waiting = fails
    last = publisher.say(2)
    publisher.reasons = ("storage_failed",)
    publisher.publisher.announce()
    wait_until(lambda: subscriber.statuses()[-1:] == ["degraded"], "degraded")
    assert publisher.publisher.connected
    publisher.ledger.waiting = answers
    wait_until(lambda: not subscriber.gaps(last), "what waited")
    assert subscriber.statuses() == ["online", "degraded"]


def test_a_row_leaves_by_its_commit_not_by_the_next_look(mosquitto, unit):
    """Nobody looks for rows: `benches.wire` has the milliseconds, here it is no poll."""
    broker = mosquitto().start()
    published: list[float] = []
    seen = threading.Event()

    def reached(point):
        if point == "published":
            published.append(time.perf_counter())
            seen.set()

    waits_s = []
    with named_points(reached):
        publisher = unit(broker.port).start()
        for _ in range(9):
            wait_until(publisher.all_delivered, what="delivered")
            time.sleep(0.03)  # it goes back to rest without an event of its own
            seen.clear()
            publisher.say()
            committed = time.perf_counter()
            assert seen.wait(2 * STATUS_LOOK_S)
            waits_s.append(published[-1] - committed)
    assert sorted(waits_s)[4] < STATUS_LOOK_S / 4, waits_s


# --- the broker is away -----------------------------------------------------------------------


def test_a_broker_that_is_away_at_start_gets_everything_when_it_comes(mosquitto, unit, subscribe):
    """The service runs without it; status first, then the backlog in order."""
    broker = mosquitto()
    publisher = unit(broker.port)
    publisher.publisher.start()
    last = publisher.say(120)
    time.sleep(0.3)
    assert not publisher.publisher.connected
    assert publisher.publisher.problem
    broker.start()
    wait_until(publisher.all_delivered, what="delivered")
    # Nobody listened: QoS 1 without subscribers is delivered all the same (0x10). Ask again.
    subscriber = subscribe(broker.port)
    subscriber.ask_for_replay(1)
    wait_until(lambda: not subscriber.gaps(last), what="replay")
    assert [seq for seq, _ in subscriber.numbered()] == list(range(1, last + 1))


def test_a_broker_killed_again_and_again_loses_nothing(mosquitto, unit, subscribe):
    """After replay there is no gap; after de-duplication nothing is twice and all is in order."""
    broker = mosquitto().start()
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port).start()
    chance = random.Random(5)
    for _ in range(6):
        publisher.say(chance.randrange(5, 60))
        time.sleep(chance.random() * 0.05)
        broker.restart()
        publisher.say(chance.randrange(5, 60))
    last = publisher.say()
    wait_until(publisher.all_delivered, what="delivered")
    for _ in range(20):
        gaps = subscriber.gaps(last)
        if not gaps:
            break
        subscriber.ask_for_replay(gaps[0])
        time.sleep(0.5)
    assert subscriber.gaps(last) == []
    assert sorted(subscriber.once()) == list(range(1, last + 1))
    bodies = {}
    for seq, record in subscriber.numbered():
        assert bodies.setdefault(seq, record.payload) == record.payload


def test_rows_in_flight_at_a_loss_are_sent_again_by_the_next_connection(unit):
    """A broker that takes PUBLISH and dies before the PUBACK has cost nothing but a double."""
    port = free_port()
    publisher = unit(port)
    publisher.say(3)
    with FakeBroker(port) as fake:
        fake.acknowledge = False
        publisher.publisher.start()
        wait_until(lambda: len(fake.rows()) == 3, what="three rows in flight")
        fake.acknowledge = True
        fake.drop()
        wait_until(publisher.all_delivered, what="delivered")
    assert fake.rows() == [1, 2, 3, 1, 2, 3]


# --- the broker says no -----------------------------------------------------------------------


def test_a_refused_row_is_parked_with_an_event_and_the_others_go_on(mosquitto, unit, subscribe):
    """Three times "not authorized": parked, said so; the row behind it did not wait."""
    broker = mosquitto(
        acl=(
            f"topic write {ROOT}/status",
            f"topic write {ROOT}/event",
            f"topic write {ROOT}/health",
            f"topic read {ROOT}/#",
        )
    ).start()
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port, refusal_backoff_s=1.0).start()
    refused = publisher.say_exam()
    other = publisher.say()
    wait_until(lambda: other in subscriber.once(), what="the row behind")
    assert publisher.ledger.backlog().parked == 0
    wait_until(lambda: len(subscriber.topics("event")) >= 2, what="the parked event")
    parked = subscriber.topics("event")[-1].body
    assert (parked["event"], parked["data"]["row_seq"]) == ("parked", refused)
    assert parked["data"]["reason_code"] == 0x87
    assert parked["exam_key"] == MESSAGE_FACTORY.exam_key("1.2.3")
    wait_until(publisher.all_delivered, what="delivered")
    assert publisher.ledger.backlog().parked == 1
    assert subscriber.gaps(parked["seq"]) == [refused]


def test_where_events_are_refused_too_it_ends(mosquitto, unit):
    """A parked event about a parked row is the last of its chain."""
    broker = mosquitto(acl=(f"topic write {ROOT}/status",)).start()
    publisher = unit(broker.port).start()
    publisher.say()
    wait_until(lambda: publisher.ledger.backlog().parked == 2, what="row and event parked")
    time.sleep(0.5)
    assert publisher.ledger.last_seq() == 2


def test_a_parked_row_is_published_once_the_rules_allow_it(mosquitto, unit, subscribe):
    """Replay brings parked rows back."""
    broker = mosquitto(
        acl=(
            f"topic write {ROOT}/status",
            f"topic readwrite {ROOT}/command/#",
            f"topic read {ROOT}/#",
        )
    ).start()
    publisher = unit(broker.port).start()
    publisher.say()
    wait_until(lambda: publisher.ledger.backlog().parked == 2, what="parked")
    broker.set_acl((f"topic readwrite {ROOT}/#",))
    broker.reload()
    subscriber = subscribe(broker.port)
    subscriber.ask_for_replay(1)
    wait_until(lambda: not subscriber.gaps(2), what="both rows")
    wait_until(lambda: publisher.ledger.backlog().parked == 0, what="none parked")


# --- what grows old ---------------------------------------------------------------------------


def test_a_row_that_expired_while_waiting_is_said_to_have_expired(broker, unit, subscribe):
    """Its number comes, on `event`; the stale flag does not."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port)
    seq = publisher.say_exam(at_ms=now_ms() - 60_000, expiry_s=30)
    publisher.start()
    wait_until(lambda: seq in subscriber.once(), what="the number")
    record = subscriber.once()[seq]
    assert (record.topic, record.body["event"]) == ("event", "expired")
    assert record.body["exam_key"] == MESSAGE_FACTORY.exam_key("1.2.3")


def test_an_expired_flag_is_cleared_at_the_broker(broker, unit, subscribe):
    """A zero-byte retained message; afterwards nobody is told the old flag."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port)
    publisher.say_exam(expiry_s=1)
    publisher.start()
    exam = f"exam/{MESSAGE_FACTORY.exam_key('1.2.3')}"
    wait_until(lambda: subscriber.topics(exam), what="the flag")
    time.sleep(1.2)
    publisher.publisher.stop()
    successor = publisher.succeed()
    wait_until(lambda: len(subscriber.topics(exam)) == 2, what="the clearing")
    assert subscriber.topics(exam)[1].payload == b""
    wait_until(lambda: not publisher.ledger.retained_topics_to_clear(now_ms()), what="noted")
    successor.stop()
    late = subscribe(broker.port, name="late")
    wait_until(lambda: late.topics("status"), what="retained status")
    assert late.topics(exam) == []


def test_an_older_revision_does_not_carry_the_retain_flag(unit):
    """Of the revisions that wait only the last is for keeping, in whatever order they arrive."""
    port = free_port()
    publisher = unit(port)
    for revision in (1, 2, 3):
        publisher.say_exam(revision=revision)
    other = publisher.say_exam(study="1.2.4")
    with FakeBroker(port) as fake:
        publisher.publisher.start()
        wait_until(lambda: other in fake.retained, what="all rows")
        assert fake.retained == {1: False, 2: False, 3: True, other: True}


def test_replay_never_makes_an_older_revision_the_retained_one(broker, unit, subscribe):
    """The numbers come again; the retained flag stays the current one."""
    publisher = unit(broker.port).start()
    for revision in (1, 2, 3):
        last = publisher.say_exam(revision=revision)
    wait_until(publisher.all_delivered, what="delivered")
    subscriber = subscribe(broker.port)
    subscriber.ask_for_replay(1)
    wait_until(lambda: not subscriber.gaps(last), what="replay")
    wait_until(publisher.all_delivered, what="delivered again")
    late = subscribe(broker.port, name="late")
    exam = f"exam/{MESSAGE_FACTORY.exam_key('1.2.3')}"
    wait_until(lambda: late.topics(exam), what="the retained flag")
    assert [record.body["revision"] for record in late.topics(exam)] == [3]


# --- commands ---------------------------------------------------------------------------------


def test_rebirth_says_status_again(broker, unit, subscribe):
    """The unit says who it is to whoever lost it."""
    subscriber = subscribe(broker.port)
    unit(broker.port).start()
    subscriber.command("rebirth", b"")
    wait_until(lambda: subscriber.statuses() == ["online", "online"], what="two births")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 900,
        b'{"from_seq":' * 80,
        b'{"from_seq":0}',
        b'{"from_seq":-1}',
        b'{"from_seq":true}',
        b'{"from_seq":1.5}',
        b'{"from_seq":"1"}',
        b'{"from_seq":' + b"9" * 600 + b"}",
        b'{"from_seq":9223372036854775807}',
        b'{"from_seq":1,"x":2}',
        b'{"from_seq":NaN}',
        b'{"from_seq":1}' + b" " * 2000,
    ],
)
def test_a_hostile_replay_changes_nothing(mosquitto, unit, subscribe, payload):
    """No row is published again, and the unit goes on."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    publisher.say(3)
    wait_until(publisher.all_delivered, what="delivered")
    subscriber = subscribe(broker.port)
    subscriber.command("replay", payload)
    last = publisher.say()
    wait_until(lambda: last in subscriber.once(), what="the next row")
    time.sleep(0.1)
    assert sorted(subscriber.once()) == [last]
    assert publisher.publisher._gate.refused == 1
    assert publisher.publisher.connected


def test_a_flood_of_commands_is_let_in_by_the_spoonful(mosquitto, unit, subscribe):
    """Of hundreds at once five are heard; ten megabytes are not even taken from the broker."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    publisher.say(3)
    wait_until(publisher.all_delivered, what="delivered")
    subscriber = subscribe(broker.port)
    subscriber.command("replay", b"x" * 10_000_000)
    for _ in range(300):
        subscriber.command("replay", {"from_seq": 1})
    last = publisher.say()
    wait_until(lambda: last in subscriber.once(), what="the next row")
    wait_until(publisher.all_delivered, what="delivered")
    assert len(subscriber.numbered()) <= 5 * 3 + 1
    assert publisher.publisher._gate.refused == 295
    assert publisher.publisher.connected


def test_a_retained_command_is_no_command_of_now(broker, unit, subscribe):
    """A replay that was retained at the broker must not be obeyed at every connect."""
    subscriber = subscribe(broker.port)
    publisher = unit(broker.port)
    publisher.say(2)
    publisher.start()
    wait_until(publisher.all_delivered, what="delivered")
    publisher.publisher.stop()
    topic = f"{ROOT}/command/replay"
    subscriber._client.publish(topic, b'{"from_seq":1}', 1, retain=True).wait_for_publish(5)
    successor = publisher.succeed()
    last = publisher.say()
    wait_until(lambda: last in subscriber.once(), what="the next row")
    time.sleep(0.3)
    assert [seq for seq, _ in subscriber.numbered()] == [1, 2, last]
    successor.stop()


# --- limits of the protocol -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("receive_maximum", "in_flight", "expected"),
    [(1, 20, 1), (3, 20, 3), (65535, 20, 20), (None, 50, 50)],
)
def test_in_flight_is_at_most_what_the_broker_takes(unit, receive_maximum, in_flight, expected):
    """The CONNACK's receive maximum, or our own setting if that is lower; status counts too."""
    port = free_port()
    publisher = unit(port, in_flight=in_flight, stop_timeout_s=0.2)
    publisher.say(120)
    with FakeBroker(port, receive_maximum=receive_maximum) as fake:
        fake.acknowledge = False
        publisher.publisher.start()
        wait_until(lambda: len(fake.publishes) == expected, what="a full window")
        time.sleep(0.2)
        assert len(fake.publishes) == expected
        fake.acknowledge_all()
        # Half a window at least: while a backlog waits, smaller rooms are not filled one by one.
        more = expected + max(1, expected // 2)
        wait_until(lambda: len(fake.publishes) >= more, what="the next window")
        assert len(fake.publishes) <= 2 * expected


def test_a_row_larger_than_the_broker_takes_is_parked_not_sent(unit):
    """To send it would end the connection, again and again."""
    port = free_port()
    publisher = unit(port)
    images = [image("RCC", result(0.1), image_id=i) for i in range(1, 40)]
    at_ms = now_ms()
    publisher.ledger.add_event(MESSAGE_FACTORY.exam_message(exam_flag(images), at_ms=at_ms), at_ms)
    last = publisher.say()
    with FakeBroker(port, maximum_packet=2000) as fake:
        publisher.publisher.start()
        wait_until(lambda: last in fake.rows(), what="the row behind")
        wait_until(lambda: publisher.ledger.backlog().parked == 1, what="parked")
        wait_until(publisher.all_delivered, what="delivered")
        assert 1 not in fake.rows()
        assert fake.connects == 1


def test_a_broker_that_acknowledges_nothing_is_left(unit):
    """A connection that lives but answers nothing is given up; the rows wait for the next."""
    port = free_port()
    publisher = unit(port, keepalive_s=5)
    publisher.say(2)
    clock = [0.0]
    publisher.publisher._providers = replace(
        publisher.publisher._providers, monotonic=lambda: time.monotonic() + clock[0]
    )
    with FakeBroker(port) as fake:
        fake.acknowledge = False
        publisher.publisher.start()
        wait_until(lambda: len(fake.rows()) == 2, what="in flight")
        clock[0] = 11.0
        publisher.ledger.wake()
        wait_until(lambda: fake.connects == 2, what="a new connection")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x00\x05",
        b"\xf0" * 64,
        b"\x20\xff\xff\xff\x7f",
        b"\x20\x02\x00",
        b"\x40\x02\x00",
        b"\x20\x03\x00\x87\x00",
    ],
)
def test_what_is_no_broker_is_tried_again_later(unit, answer):
    """Garbage, a refusal, a web server: no crash, no connection, and the next attempt succeeds."""
    port = free_port()
    publisher = unit(port, connect_timeout_s=0.5)
    last = publisher.say()
    with RudeServer(port, answer) as rude:
        publisher.publisher.start()
        wait_until(lambda: rude.connects >= 2, what="a second attempt")
        assert not publisher.publisher.connected
    with FakeBroker(port) as fake:
        wait_until(lambda: last in fake.rows(), what="the row")
    assert publisher.publisher.alive


def test_pauses_between_attempts_grow_to_a_bound_and_differ():
    """For ever, but never closer than the first pause and never longer than the longest."""
    backoff = Backoff(first_s=0.5, longest_s=30, randomness=random.Random(3))
    pauses = [backoff.next_s() for _ in range(200)]
    assert all(0.5 <= pause <= 30 for pause in pauses)
    assert max(pauses[:3]) <= 2.0
    assert max(pauses[10:]) > 20
    assert all(a != b for a, b in pairwise(pauses))
    backoff.reset()
    assert backoff.next_s() == 0.5


# --- two of one name --------------------------------------------------------------------------


def test_a_name_that_another_took_is_an_event_and_degraded(unit):
    """Once each ten minutes, not at each of the takings; the unit tries on, with long pauses."""
    port = free_port()
    publisher = unit(port, stop_timeout_s=0.2)
    with FakeBroker(port) as fake:
        publisher.start()
        for connects in (2, 3):
            fake.take_over()
            wait_until(lambda: fake.connects == connects, what="the next attempt")  # noqa: B023
            wait_until(lambda: publisher.publisher.connected, what="a connection")
        wait_until(publisher.all_delivered, what="delivered")
        said = [json.loads(payload) for _, payload in fake.publishes if payload]
        assert [body["event"] for body in said if "event" in body] == ["name_taken"]
        assert [body for body in said if "state" in body][-1]["reasons"] == ["name_taken"]


def test_connections_that_are_closed_again_and_again_are_no_accident(unit):
    """The third within five minutes makes the unit degraded, whoever closed them."""
    port = free_port()
    publisher = unit(port, stop_timeout_s=0.2)
    with FakeBroker(port) as fake:
        publisher.start()
        for connects in (2, 3, 4):
            assert publisher.publisher.faults == ()
            fake.drop()
            wait_until(lambda: fake.connects == connects, what="the next attempt")  # noqa: B023
            wait_until(lambda: publisher.publisher.connected, what="a connection")
        assert publisher.publisher.faults == ("connection_unstable",)


def test_a_flag_of_now_does_not_wait_behind_a_replay(unit):
    """Whoever asks for a whole history, again and again, delays no new row."""
    port = free_port()
    publisher = unit(port, in_flight=10)
    old = publisher.say(300)
    publisher.ledger.delivered(tuple(range(1, old + 1)), now_ms())
    assert publisher.ledger.replay_from(1) == old
    new = publisher.say_exam()
    assert [row.seq for row in publisher.ledger.waiting(3)] == [new, 1, 2]
    with FakeBroker(port) as fake:
        publisher.publisher.start()
        wait_until(lambda: len(fake.publishes) >= old + 1, what="everything")
    assert next(iter(fake.retained)) == new
