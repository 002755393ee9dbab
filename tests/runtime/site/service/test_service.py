"""The site's service with a real Mosquitto, real units and real faults."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.publish
import pytest

from tests.support.waiting import wait_until

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from prometheus_client.parser import text_string_to_metric_families

from runtime.site.alarms.alarm_reconciliation import untold
from runtime.site.alarms.notifier import PUBLISHED
from tests.runtime.conftest import mosquitto, subscribe, unit  # noqa: F401 - fixtures
from tests.support.site_service import RunningSite, Webhook

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def site(tmp_path):
    """A factory of services; all of them are stopped at the end."""
    made = []

    def make(port, **options):
        database = options.pop("database", f"sqlite:///{tmp_path}/site.db")
        folder = tmp_path / options.get("service", "site-1")
        made.append(RunningSite(folder, port, database, **options))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def webhook():
    """A factory of webhooks."""
    made = []

    def make(**options):
        made.append(Webhook(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def kinds(site) -> set[str]:
    """Alarms that stand."""
    return {alarm.kind for alarm in site.summary().alarms}


def owed(site) -> list:
    """Alarms that the broker does not have yet."""
    with site.store.reading() as connection:
        return untold(connection, "st-anna", PUBLISHED)


def settled(site, last_seq) -> bool:
    """Whether everything up to a number is in the books."""
    with sqlite3.connect(site.store.url.database) as looking:
        rows = looking.execute("SELECT settled_seq, missing FROM streams").fetchall()
    return rows == [(last_seq, 0)]


def value_of(page: str, name: str, **labels: str) -> float:
    """The sample of that name and exactly those labels, as Prometheus' own reader finds it."""
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples]
    (value,) = [s.value for s in samples if s.name == name and s.labels == labels]
    return value


def test_flags_arrive_in_the_books_and_on_the_metrics_page(mosquitto, unit, site):  # noqa: F811
    """From a unit's outbox through Mosquitto to the glance and to Prometheus."""
    broker = mosquitto().start()
    service = site(broker.port)
    speaker = unit(broker.port).start()
    last = [speaker.say_exam(study=f"1.2.{n}") for n in range(5)][-1]
    wait_until(lambda: settled(service, last), what="everything is in the books")
    assert service.unit().today.priority == 5
    status, page = service.get("metrics")
    assert status == 200
    who = {"site": "st-anna", "unit": "mammo-1"}
    assert value_of(page, "mammoedge_exams_today", flag="priority", **who) == 5
    assert value_of(page, "mammoedge_unit_standing", standing="online", **who) == 1
    assert service.get("health")[0] == 200


def test_an_alarm_stands_on_the_broker_until_it_is_over(mosquitto, unit, site, subscribe):  # noqa: F811
    """Who subscribes later hears it retained; it is on the metrics page; cleared when over."""
    broker = mosquitto().start()
    service = site(broker.port)
    speaker = unit(broker.port)
    speaker.reasons = ("worker_not_ready",)
    speaker.start()
    wait_until(lambda: "unit_cannot_judge" in kinds(service), what="the alarm")
    wait_until(lambda: not owed(service), what="the broker has it")
    late = subscribe(broker.port, unit="_site", name="late")

    def heard():
        topic = "alarm/unit_cannot_judge.mammo-1.worker_not_ready"
        return [record for record in late.seen() if record.topic == topic]

    wait_until(heard, what="a newcomer hears what stands")
    (stands,) = heard()
    assert stands.retain
    assert (stands.body["alarm"], stands.body["state"]) == ("unit_cannot_judge", "raised")
    labels = {"site": "st-anna", "unit": "mammo-1", "subject": "worker_not_ready"}
    labels |= {"kind": "unit_cannot_judge", "severity": "warning"}
    assert value_of(service.get("metrics")[1], "mammoedge_alarm", **labels) == 1
    speaker.reasons = ()
    speaker.publisher.announce()
    wait_until(lambda: heard()[-1].payload == b"", what="it is taken off the broker")


def test_metrics_under_a_foreign_name_are_refused(mosquitto, site):  # noqa: F811
    """DNS rebinding: a page of another site must not read them; names of the settings may."""
    service = site(mosquitto().start().port)
    where = urlsplit(service.service.metrics.address)
    ours = socket.gethostname()
    for name, status in (
        ("evil.example", 421), ("", 421), ("localhost", 200), ("10.1.2.3", 200), (ours, 200),
    ):  # fmt: skip
        for path in ("/metrics", "/health"):
            asking = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
            asking.request("GET", path, headers={"Host": name})
            assert (asking.getresponse().status == 421) is (status == 421), (name, path)
            asking.close()


def test_nothing_is_lost_while_broker_and_service_come_and_go(mosquitto, unit, site):  # noqa: F811
    """The broker forgets (no persistence), the service is away: replay closes every gap, once."""
    broker = mosquitto().start()
    service = site(broker.port)
    speaker = unit(broker.port).start()
    first = speaker.say(10)
    wait_until(lambda: settled(service, first), what="the first messages")
    service.service.stop()
    wait_until(lambda: not service._thread.is_alive(), what="the service stopped")
    speaker.say(10)
    wait_until(speaker.all_delivered, what="the broker has them")
    broker.restart()
    assert speaker.publisher.wait_connected(20)
    again = site(broker.port, service="site-2")
    last = speaker.say(10)
    wait_until(lambda: settled(again, last), what="replay closed the gap")
    with sqlite3.connect(again.store.url.database) as looking:
        assert looking.execute("SELECT count(*) FROM events").fetchone() == (last,)


def test_a_locked_database_acknowledges_nothing(mosquitto, unit, site):  # noqa: F811
    """The service says so on its page; when the lock goes, everything is there once."""
    broker = mosquitto().start()
    service = site(broker.port)
    speaker = unit(broker.port).start()
    wait_until(lambda: service.unit() is not None, what="the unit is known")
    other = sqlite3.connect(service.store.url.database, isolation_level=None, timeout=30)
    other.execute("BEGIN EXCLUSIVE")
    last = speaker.say(20)
    wait_until(lambda: service.state.database_fault == "locked", what="the fault is told")
    status, body = service.get("health")
    assert (status, json.loads(body)["database_fault"]) == (503, "locked")
    page = service.get("metrics")[1]
    assert value_of(page, "mammoedge_site_database_fault", fault="locked", service="site-1") == 1
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: settled(service, last), what="everything is in the books")
    wait_until(lambda: service.state.database_fault == "", what="the fault is over")


def test_a_database_that_is_gone_is_told_and_waited_for(mosquitto, unit, site):  # noqa: F811
    """Nothing is written into a file that nobody will find again."""
    broker = mosquitto().start()
    service = site(broker.port)
    speaker = unit(broker.port).start()
    first = speaker.say(3)
    wait_until(lambda: settled(service, first), what="the first messages")
    path = Path(service.store.url.database)
    path.rename(path.with_suffix(".away"))
    last = speaker.say(20)
    wait_until(lambda: service.state.database_fault == "gone", what="the fault is told")
    path.with_suffix(".away").rename(path)
    wait_until(lambda: settled(service, last), what="everything is in the books")


def test_two_services_share_the_load_and_count_once(mosquitto, unit, site):  # noqa: F811
    """$share: each hears a part, one database holds all; no false gap, no doubled figure."""
    broker = mosquitto().start()
    group = {"listen": {"group": "books"}}
    one = site(broker.port, **group)
    two = site(broker.port, service="site-2", **group)
    speaker = unit(broker.port, health_interval_s=0.5).start()
    last = [speaker.say_exam(study=f"1.2.{n}") for n in range(200)][-1]
    wait_until(lambda: settled(one, last), what="everything is in the books")
    assert one.unit().today.exams == 200
    assert one.state.committed > 0
    assert two.state.committed > 0
    wait_until(lambda: one.state.watching != two.state.watching, what="one of them watches")
    # No retained status reaches a shared subscription: it is asked for.
    wait_until(lambda: one.unit().standing.value == "online", what="the unit's state is known")
    assert one.unit().gap.lost == 0


def test_a_silent_unit_alarms_on_mqtt_and_webhook_and_is_resolved(
    mosquitto,  # noqa: F811
    unit,  # noqa: F811
    subscribe,  # noqa: F811
    site,
    webhook,
):
    """Raised and cleared on both ways, through a webhook that refuses at first."""
    door = webhook(refuse=2)
    broker = mosquitto().start()
    ears = subscribe(broker.port, unit="_site", name="ears")
    service = site(broker.port, watch={"silent_after_s": 30}, webhook={"url": door.url})
    speaker = unit(broker.port).start()
    last = speaker.say(1)
    wait_until(lambda: settled(service, last), what="its messages are in the books")
    # Its last word is put an hour back: the wait itself proves nothing.
    with sqlite3.connect(service.store.url.database, timeout=30) as books:
        books.execute("UPDATE units SET last_heard_ms = last_heard_ms - 3600000")
    wait_until(lambda: ears.topics("alarm"), what="the alarm is said")
    raised = ears.topics("alarm")[0].body
    assert (raised["alarm"], raised["state"], raised["unit"]) == (
        "unit_silent",
        "raised",
        "mammo-1",
    )
    assert raised["saw"]
    assert raised["advice"]
    wait_until(lambda: door.alerts, what="the webhook has it")
    assert door.alerts[0]["labels"]["alertname"] == "mammoedge_unit_silent"
    assert "endsAt" not in door.alerts[0]
    speaker.say(1)
    wait_until(lambda: any("endsAt" in alert for alert in door.alerts), what="resolved")
    wait_until(lambda: ears.topics("alarm")[-1].body["state"] == "cleared", what="cleared")
    assert door.requests > 2


def test_foreign_messages_alarm_and_change_no_figure(mosquitto, unit, site):  # noqa: F811
    """Someone else writes on our topics: counted by place, told, not counted."""
    broker = mosquitto().start()
    service = site(broker.port, watch={"foreign_per_hour": 3})
    speaker = unit(broker.port).start()
    last = speaker.say(2)
    wait_until(lambda: settled(service, last), what="the unit's own messages")
    forged = [
        {"topic": f"mammoedge/v1/st-anna/mammo-1/exam/{n:032x}", "payload": b"{}", "qos": 1}
        for n in range(9)
    ]
    paho.mqtt.publish.multiple(forged, hostname="127.0.0.1", port=broker.port)
    wait_until(lambda: kinds(service) == {"foreign_messages"}, what="the alarm")
    assert service.unit().today.exams == 0
    assert [item.messages for item in service.summary().foreign] == [9]


def test_what_no_replay_brings_is_given_up_and_said(mosquitto, unit, site):  # noqa: F811
    """A unit that no longer has the rows: lost is a figure and an alarm, not a gap for ever."""
    broker = mosquitto().start()
    service = site(broker.port, watch={"replays": 1, "look_every_s": 0.1, "replay_pause_s": 0.3})
    speaker = unit(broker.port).start()
    first = speaker.say(3)
    wait_until(lambda: settled(service, first), what="the first messages")
    with service.store.writing() as books:
        books.exec_driver_sql("UPDATE streams SET settled_seq = 3, received_seq = 3")
    speaker.ledger.transact(
        lambda tx: tx._connection.execute(
            "UPDATE sqlite_sequence SET seq = 7 WHERE name = 'outbox'"
        )
    )
    speaker.say(1)
    wait_until(lambda: "numbers_lost" in kinds(service), what="the alarm")
    assert service.unit().gap.lost == 4
    assert service.unit().gap.missing == 0
