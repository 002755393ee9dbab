"""A unit is taken out of service: nothing of it is left at the broker, its books stay."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.site.queries.fleet_summary import Standing
from tests.conftest import skip_or_fail
from tests.end_to_end.conftest import STORESCU, dcmtk_send, mammoedge, wait_for_final
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.exams import write_exam
from tests.support.site_service import RunningSite
from tests.support.subscriber import Subscriber
from tests.support.unit_under_test import Unit
from tests.support.units import SITE, UNIT
from tests.support.waiting import wait_until

SITE_TOML = """\
[site]
name = "{site}"
[broker]
host = "127.0.0.1"
port = {port}
tls = false
[store]
database = "{database}"
"""


def site_service(folder, port, stack) -> RunningSite:
    """The site's service on a database of its own, and `site.toml` for commands."""
    database = folder / "site.db"
    text = SITE_TOML.format(site=SITE, port=port, database=database.as_posix())
    (folder / "site.toml").write_text(text)
    running = RunningSite(folder / "site", port, f"sqlite:///{database}").start()
    stack.callback(running.stop)
    return running


@pytest.fixture
def site(story):
    """The site's service beside the story's broker."""
    story.broker.start()
    return site_service(story.folder, story.broker.port, story.stack)


def judged_exam(story, unit):
    """A unit with one final flag at the broker."""
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 71)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    wait_for_final(subscriber, exam.study_uid, unit)


def left(story, name) -> list[str]:
    """Topics of the unit on which a newcomer hears something retained."""
    newcomer = Subscriber(story.broker.port, site=SITE, unit=UNIT, name=name)
    marker = Subscriber(story.broker.port, site=SITE, unit="_site", name=f"{name}-marker")
    try:
        marker._client.publish(f"{newcomer.root}/event", b"{}", 1)  # behind what was retained
        wait_until(lambda: any(r.payload == b"{}" for r in newcomer.seen()), "the marker")
        return sorted(r.topic for r in newcomer.seen() if r.retain and r.payload)
    finally:
        newcomer.close()
        marker.close()


def test_a_unit_that_retires_leaves_nothing_at_the_broker(story, site):
    """Refused while it runs; then cleared; the site's books stay; speaking again is an alarm."""
    unit = story.unit().start().wait_listening()
    judged_exam(story, unit)
    running = mammoedge("retire", "--config", unit.config)
    assert running.returncode != 0
    assert "another mammoedge works here" in running.stderr
    assert "status" in left(story, "before")
    assert unit.stop() == 0
    done = mammoedge("retire", "--config", unit.config)
    assert done.returncode == 0, done.stderr
    assert "is retired" in done.stdout
    assert left(story, "after") == []
    wait_until(lambda: site.unit(UNIT).standing is Standing.RETIRED, "the site knows")
    assert site.unit(UNIT).today.exams == 1
    assert (unit.folder / "data" / "ledger.db").exists()
    assert [f.why for f in site.summary().foreign] == ["schema_unknown"], "the markers alone"
    unit.start().wait_listening()

    def alarms():
        return {alarm.kind for alarm in site.summary().alarms}

    wait_until(lambda: "retired_unit_speaks" in alarms(), "the alarm")
    undone = mammoedge("site", "retire", UNIT, "--undo", "--config", story.folder / "site.toml")
    assert undone.returncode == 0, undone.stderr
    wait_until(lambda: "retired_unit_speaks" not in alarms(), "it is in service again")


def test_a_unit_that_is_gone_is_retired_from_the_site(story, site):
    """Cleared where the broker lets the site; an unknown unit is said to be one."""
    unit = story.unit().start().wait_listening()
    judged_exam(story, unit)
    unit.kill()
    unknown = mammoedge("site", "retire", "mammo-9", "--config", story.folder / "site.toml")
    assert unknown.returncode == 2, unknown.stderr
    assert "mammo-9" in unknown.stderr
    wait_until(lambda: site.unit(UNIT).standing is not Standing.ONLINE, "its will")
    done = mammoedge("site", "retire", UNIT, "--config", story.folder / "site.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert left(story, "after") == []
    wait_until(lambda: site.unit(UNIT).standing is Standing.RETIRED, "the tile has moved")


def test_what_the_brokers_rules_forbid_is_said(tmp_path):
    """The books are marked all the same; what to do is named."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(tmp_path / "broker", acl=("topic readwrite #",)))
        speaker = Unit(tmp_path / "unit", broker.port)
        stack.callback(speaker.close)
        speaker.start()
        running = site_service(tmp_path, broker.port, stack)
        wait_until(lambda: running.unit(UNIT) is not None, "the unit is known")
        broker.set_acl(("topic read #", f"topic write mammoedge/v1/{SITE}/_site/#"))
        broker.reload()
        done = mammoedge("site", "retire", UNIT, "--config", tmp_path / "site.toml")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Run `mammoedge retire` at the unit" in done.stdout
        assert running.unit(UNIT).retired_ms is not None


def test_a_unit_that_never_ran_cannot_be_retired(story):
    """Said in words, with what to look at."""
    unit = story.unit()
    done = mammoedge("retire", "--config", unit.config)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "has the unit run yet?" in done.stderr
