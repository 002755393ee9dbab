"""A broker that forgot what it had retained is given it again: real Mosquittos, killed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from unittest.mock import Mock

import paho.mqtt.client as mqtt
import pytest

from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import StatusFacts
from runtime.mqtt.broker_memory import BrokerMemory
from tests.support.unit_under_test import MESSAGE_FACTORY, ROOT
from tests.support.waiting import wait_until


def retained(subscriber) -> dict[str, dict]:
    """What a newcomer hears on exam topics, by topic."""
    return {r.topic: r.body for r in subscriber.seen() if r.retain and r.topic.startswith("exam/")}


def mark(broker) -> int:
    """The unit's mark as the broker has it; -1: none that comes within a moment."""
    heard = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/command/probe", 1)
    client.on_message = lambda _client, _userdata, message: heard.append(message.payload)
    client.connect("127.0.0.1", broker.port)
    until_s = time.monotonic() + 0.5
    while not heard and time.monotonic() < until_s:
        client.loop(timeout=0.05)
    client.disconnect()
    return json.loads(heard[0])["through_seq"] if heard else -1


def live(subscriber) -> set[str]:
    """Exam topics that were said while the subscriber listened."""
    said = [r for r in subscriber.seen() if r.topic.startswith("exam/")]
    # An expired flag is taken off its topic by an empty message, sooner or later.
    return {r.topic for r in said if not r.retain and r.body}


def test_flags_that_hold_are_put_back_after_the_broker_forgot(mosquitto, unit, subscribe):
    """Late subscribers have them again under their numbers; expired and replaced ones stay away."""
    broker = mosquitto().start()
    speaker = unit(broker.port)
    seqs = {study: speaker.say_exam(study=study) for study in ("1.2.1", "1.2.2", "1.2.3")}
    seqs["1.2.3"] = speaker.say_exam(study="1.2.3", revision=2)
    speaker.say_exam(study="1.2.4", at_ms=speaker.clock_ms() - 3_599_000)
    speaker.start()
    wait_until(speaker.all_delivered, "the flags are at the broker")
    wait_until(lambda: mark(broker) >= seqs["1.2.3"], "the mark")
    wait_until(lambda: speaker.ledger.retained_topics_to_clear(speaker.clock_ms()), "one expired")
    broker.restart()  # without persistence
    assert speaker.publisher.wait_connected(20)
    ears = subscribe(broker.port, name="ears")
    wait_until(lambda: len(retained(ears) | dict.fromkeys(live(ears))) == 3, "the flags are back")
    newcomer = subscribe(broker.port, name="newcomer")
    wait_until(lambda: len(retained(newcomer)) == 3, "a newcomer has them")
    assert {body["seq"] for body in retained(newcomer).values()} == set(seqs.values())
    assert {body["revision"] for body in retained(newcomer).values()} == {1, 2}


class FailingOnce:
    """A ledger whose disk is full the first time that it is asked for what to put back."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def last_seq(self) -> int:
        return 100

    def put_back(self, through: int, _now_ms: int) -> int:
        self.asked.append(through)
        if len(self.asked) == 1:
            raise LedgerError(Path("ledger.db"), "database or disk is full")
        return 5


def test_what_a_failing_ledger_could_not_put_back_is_put_back_later():
    """No mark claims it meanwhile: the flags would be forgotten for good."""
    wire, delivery, in_flight, ledger = Mock(), Mock(), Mock(room=5), FailingOnce()
    wire.publish.return_value = 1
    delivery.retained_through = 42
    memory = BrokerMemory(
        wire=wire, topic="p", ledger=ledger, ledger_id="x", delivery=delivery, in_flight=in_flight
    )
    memory.begin(0.0)
    with pytest.raises(LedgerError):
        memory.heard(b'{"schema":"mammoedge.probe/1","through_seq":7,"ledger_id":"x"}', 0)
    assert not wire.publish.called
    assert memory.turn(9.0, 0)
    assert ledger.asked == [7, 7]
    memory.turn(9.1, 0)
    assert b"42" in wire.publish.call_args.args[1]


def test_a_broker_that_remembers_is_told_nothing_twice(mosquitto, unit, subscribe):
    """Killed with its memory on the disk: the mark is there, no flag comes again."""
    lines = ("autosave_interval 1", "autosave_on_changes true")
    broker = mosquitto(persistence=True, lines=lines).start()
    speaker = unit(broker.port).start()
    seq = speaker.say_exam()
    wait_until(speaker.all_delivered, "the flag is at the broker")
    wait_until(lambda: mark(broker) == seq, "the mark")
    ears = subscribe(broker.port, name="ears")
    wait_until(lambda: retained(ears), "the flag stands")
    broker.stop()
    broker.start()
    assert speaker.publisher.wait_connected(20)
    time.sleep(4.0)  # longer than an absent mark is waited for
    assert live(ears) == set()
    assert speaker.ledger.backlog().waiting == 0


def test_the_will_says_what_it_is():
    """Written when the unit connected, and it says so; nothing of that moment is told as of now."""
    facts = StatusFacts(reasons=("starting",), actual_device="CPU", requested_device="CPU")
    will = json.loads(MESSAGE_FACTORY.last_will(facts, at_ms=1_000, last_seq=3).payload)
    assert (will["state"], will["reasons"], will["actual_device"]) == ("offline", [], None)
    assert (will["will"], will["connected_at"]) == (True, "1970-01-01T00:00:01.000Z")
    said = json.loads(MESSAGE_FACTORY.status_message(facts, at_ms=1_000, last_seq=3).payload)
    assert not {"will", "connected_at"} & set(said)
