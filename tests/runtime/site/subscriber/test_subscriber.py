"""The site's session against a real Mosquitto: nothing is lost between hearing and keeping."""

from __future__ import annotations

import json

import paho.mqtt.client as mqtt
import pytest

from runtime.site.live_model.change import ChangeKind
from runtime.site.subscriber.arrival import LinkChange
from runtime.site.subscriber.subscriber import HeardMessage
from tests.runtime.site.listeners import Listener, outbox_rows, subscriber
from tests.support.brokers import free_port
from tests.support.fake_broker import RudeServer
from tests.support.waiting import wait_until


@pytest.fixture
def listen():
    """A factory of listeners; all of them leave at the end."""
    made = []

    def make(port, **options):
        made.append(Listener(port, **options))
        return made[-1]

    yield make
    for each in made:
        each.subscriber.close()


def say(port, *messages) -> None:
    """Says anything on any topic, as anybody who is let in can."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    said = [client.publish(topic, payload, 1) for topic, payload in messages]
    for each in said:
        each.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def test_a_listener_rebuilds_the_outbox(mosquitto, unit, listen):
    """Live rows, flags kept by the broker, state and figures; equal to the ledger row by row."""
    broker = mosquitto().start()
    listener = listen(broker.port).until_up()
    publisher = unit(broker.port).start()
    publisher.say(30)
    publisher.say_exam(revision=1)
    last = publisher.say_exam(revision=2)
    listener.until(lambda: len(listener.rows()) == last, "all rows")
    assert listener.rows() == outbox_rows(publisher.ledger)
    late = listen(broker.port, client_id="late")
    late.until(lambda: late.picture.units and late.unit.exams, "retained")
    assert [exam.revision for exam in late.unit.exams.values()] == [2]
    assert late.unit.book.gaps() == ()


def test_what_was_not_acknowledged_comes_again(mosquitto, unit):
    """A consumer that dies between hearing and keeping hears it again; what it kept, never."""
    broker = mosquitto().start()
    publisher = unit(broker.port)
    first = subscriber(broker.port, receive_maximum=4)
    wait_until(lambda: isinstance(first.receive(1), LinkChange), "connected")
    publisher.start()
    publisher.say(10)
    kept, unkept = [], []

    def hear_nine() -> bool:
        heard = first.receive(1)
        if isinstance(heard, HeardMessage) and "seq" in json.loads(heard.arrival.payload):
            seq = json.loads(heard.arrival.payload)["seq"]
            if seq <= 5:
                kept.append(seq)
                first.acknowledge(heard)
            else:
                unkept.append(seq)
        elif isinstance(heard, HeardMessage):
            first.acknowledge(heard)
        return len(kept) + len(unkept) == 9

    wait_until(hear_nine, "nine rows")
    # The broker waits: at most four may be unacknowledged.
    assert (kept, unkept) == ([1, 2, 3, 4, 5], [6, 7, 8, 9])
    first.close()
    second = Listener(broker.port)
    second.until(lambda: 10 in second.unit.kept if second.picture.units else False, "the rest")
    assert sorted(second.unit.kept) == [6, 7, 8, 9, 10]
    second.subscriber.close()


def test_a_broker_that_loses_what_it_had_acknowledged_costs_nothing(mosquitto, unit, listen):
    """Killed without its memory: the listener sees the gap, asks, and ends with every row once."""
    broker = mosquitto().start()
    listener = listen(broker.port, follow_gaps=True).until_up()
    publisher = unit(broker.port, health_interval_s=0.2).start()
    publisher.say(5)
    listener.until(lambda: len(listener.rows()) == 5, "the first rows")
    broker.kill()
    publisher.say(3)
    broker.start()
    # The unit is back first: nobody listens to these, and the broker takes them all the same.
    wait_until(publisher.all_delivered, what="delivered")
    last = publisher.say(2)
    listener.until(lambda: len(listener.rows()) == last, "every row")
    assert listener.rows() == outbox_rows(publisher.ledger)
    went = [change.kind for change in listener.changes]
    assert ChangeKind.DISCONNECTED in went
    assert listener.unit.counts["conflicts"] == 0


def test_a_lost_tail_is_asked_for_by_its_last_number(mosquitto, unit, listen):
    """Rows behind which nothing came: the unit's next `status` or `health` gives them away."""
    broker = mosquitto().start()
    listener = listen(broker.port, follow_gaps=True).until_up()
    publisher = unit(broker.port, health_interval_s=0.2).start()
    publisher.say(4)
    listener.until(lambda: len(listener.rows()) == 4, "the first rows")
    listener.subscriber.close(forget=True)
    publisher.say(3)
    wait_until(publisher.all_delivered, what="delivered")
    back = listen(broker.port, follow_gaps=True)
    back.picture = listener.picture
    back.until(lambda: len(back.rows()) == 7, "the tail")
    assert back.rows() == outbox_rows(publisher.ledger)
    assert back.unit.counts["replayed"] == 0


def test_two_of_a_group_share_what_comes(mosquitto, unit):
    """`$share`: each row goes to one of them, together they have all."""
    broker = mosquitto().start()
    pair = [Listener(broker.port, client_id=name, group="site") for name in ("one", "two")]
    for each in pair:
        each.until_up()
    publisher = unit(broker.port).start()
    publisher.say(40)

    def heard() -> list[int]:
        for each in pair:
            each.turn(0.01)
        return [seq for each in pair for seq in (each.unit.kept if each.picture.units else ())]

    wait_until(lambda: len(heard()) >= 40, what="all rows")
    assert sorted(heard()) == list(range(1, 41))
    assert all(each.unit.kept for each in pair)
    for each in pair:
        each.subscriber.close()


def test_commands_are_few(mosquitto, unit, listen):
    """A rebirth is answered; further commands to the same unit wait for the limit."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    listener = listen(broker.port, commands_at_once=2, commands_per_s=0.001)
    assert not listener.subscriber.ask_rebirth("mammo-1"), "not connected yet"
    listener.until_up()
    said = [listener.subscriber.ask_rebirth("mammo-1") for _ in range(5)]
    assert said == [True, True, False, False, False]
    births = [ChangeKind.STATUS, ChangeKind.COMMAND]
    listener.until(
        lambda: [c.kind for c in listener.changes if c.kind in births].count("status") >= 2, "birth"
    )
    assert listener.subscriber.ask_rebirth("mammo-2")
    assert publisher.publisher.connected


def test_bad_neighbours_are_counted_and_nothing_else_happens(mosquitto, unit, listen):
    """Nonsense, ten megabytes, depth, other schemas, another unit's number: the picture stands."""
    broker = mosquitto(lines=("max_packet_size 20000000",)).start()
    publisher = unit(broker.port).start()
    listener = listen(broker.port).until_up()
    publisher.say(3)
    root = "mammoedge/v1/st-anna/mammo-1"
    good = {
        "schema": "mammoedge.event/1", "site": "st-anna", "unit": "mammo-2", "boot_id": "x",
        "at": "2026-11-22T15:04:05.678Z", "seq": 2, "event": "fault", "detail": "",
        "exam_key": None, "image_key": None, "data": {},
    }  # fmt: skip
    say(
        broker.port,
        (f"{root}/event", b"no json"),
        (f"{root}/event", b"x" * 10_000_000),
        (f"{root}/event", b"y" * 100_000),
        (f"{root}/event", b"[" * 16_000),
        (f"{root}/status", json.dumps({"schema": "mammoedge.status/9"}).encode()),
        (f"{root}/event", json.dumps(good).encode()),
        (f"{root}/event", json.dumps(good | {"unit": "mammo-1", "seq": 10**18}).encode()),
        (f"{root}/unheard/of", b"{}"),
    )
    last = publisher.say(2)
    listener.until(lambda: listener.rows() and listener.rows()[-1][0] == last, "the last row")
    assert listener.picture.foreign == {
        "not_json": 1, "too_large": 1, "too_deep": 1, "future_version": 1,
        "topic_disagrees": 1, "seq_implausible": 1, "topic_unknown": 1,
    }  # fmt: skip
    assert listener.rows() == outbox_rows(publisher.ledger)
    assert listener.unit.book.gaps() == ()
    assert [c.kind for c in listener.changes].count(ChangeKind.CONNECTED) == 1


def test_a_thousand_forged_replays_are_counted_on_both_sides(mosquitto, unit, listen):
    """The unit refuses and says how many; the listener counts them; no row is said again."""
    broker = mosquitto().start()
    publisher = unit(broker.port, health_interval_s=0.2).start()
    listener = listen(broker.port).until_up()
    publisher.say(3)
    listener.until(lambda: len(listener.rows()) == 3, "the first rows")
    topic = "mammoedge/v1/st-anna/mammo-1/command/replay"
    say(broker.port, *[(topic, b'{"from_seq":0}')] * 1000)
    last = publisher.say_exam()
    listener.until(
        lambda: (
            listener.unit.book.highest == last
            and listener.unit.health.outbox.commands_refused == 1000
        ),
        "the unit's count",
    )
    assert listener.picture.foreign == {"command_refused": 1000}
    assert listener.unit.counts["doubles"] == 0
    assert listener.rows() == outbox_rows(publisher.ledger)
    assert publisher.publisher.connected


def test_a_server_that_speaks_no_mqtt_is_a_reason_not_a_crash(listen):
    """The picture says why it is not live, and attempts go on."""
    port = free_port()
    with RudeServer(port, b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        listener = listen(port, connect_timeout_s=0.5)
        listener.until(lambda: server.connects >= 3, "attempts")
    assert not listener.picture.connected
    assert listener.picture.link.reason
