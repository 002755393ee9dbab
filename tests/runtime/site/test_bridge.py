"""The bridge that ships, between two real Mosquittos; one of MQTT 3.1.1, and the site sees it."""

from __future__ import annotations

import json
from importlib.resources import files

import paho.mqtt.publish
import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from tests.support.site_service import RunningSite
from tests.support.unit_under_test import ROOT
from tests.support.waiting import wait_until

SHIPPED = (files("runtime.site.integrations") / "mosquitto-bridge.conf").read_text()


def bridge_lines(port, *, protocol="mqttv50") -> tuple[str, ...]:
    """The shipped lines, for a site's broker on this machine, without TLS."""
    text = SHIPPED.replace("site-broker.example:8883", f"127.0.0.1:{port}")
    text = text.replace("SITE", "st-anna").replace(" mqttv50\n", f" {protocol}\n")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    secrets = ("bridge_cafile", "bridge_certfile", "bridge_keyfile")
    kept = [line for line in lines if not line.startswith(secrets)]
    assert len(lines) - len(kept) == 3
    return tuple(line.replace("restart_timeout 1 30", "restart_timeout 1 1") for line in kept)


def expiries(subscriber) -> list[int | None]:
    """Message expiry intervals of the flags that it heard."""
    said = [r for r in subscriber.seen() if r.topic.startswith("exam/") and "/view/" not in r.topic]
    return [r.properties.get("MessageExpiryInterval") for r in said]


def test_flags_with_their_expiry_and_commands_pass_the_shipped_bridge(mosquitto, unit, subscribe):
    """Everything of the contract in both directions, nothing else; a late subscriber too."""
    far = mosquitto("far").start()
    near = mosquitto("near", lines=bridge_lines(far.port)).start()
    ears = subscribe(far.port)
    speaker = unit(near.port)
    last = speaker.say(3)
    last = speaker.say_exam(expiry_s=3600)
    speaker.start()
    wait_until(lambda: expiries(ears), "the flag at the site")
    assert all(0 < one <= 3600 for one in expiries(ears))
    late = subscribe(far.port, name="late")
    wait_until(lambda: expiries(late), "the retained flag")
    assert all(0 < one <= 3600 for one in expiries(late))
    before = len(ears.seen())
    paho.mqtt.publish.single(
        f"{ROOT}/command/replay", json.dumps({"from_seq": 1}), 1, port=far.port
    )
    wait_until(lambda: len(ears.seen()) >= before + last, "the replay came through")
    kinds = {r.topic.split("/")[0] for r in ears.seen()}
    assert kinds <= {"status", "health", "event", "exam"}


@pytest.mark.parametrize(("protocol", "alarmed"), [("mqttv311", True), ("mqttv50", False)])
def test_the_site_sees_a_bridge_that_takes_expiries_off(
    mosquitto,
    unit,
    tmp_path,
    protocol,
    alarmed,
):
    """MQTT 3.1.1 has none: the alarm says so, and what to write into the configuration."""
    far = mosquitto("far").start()
    near = mosquitto("near", lines=bridge_lines(far.port, protocol=protocol)).start()
    site = RunningSite(tmp_path / "site", far.port, f"sqlite:///{tmp_path}/site.db").start()
    try:
        speaker = unit(near.port)
        speaker.say_exam()
        speaker.start()
        wait_until(lambda: site.unit() and site.unit().today.exams, "the flag is in the books")
        seen = site.summary().at_ms

        def alarms():
            return {alarm.kind: alarm for alarm in site.summary().alarms}

        if alarmed:
            wait_until(lambda: "expiry_missing" in alarms(), "the alarm")
            assert alarms()["expiry_missing"].unit == "mammo-1"
            assert "mqttv50" in alarms()["expiry_missing"].advice
        else:
            looked = lambda: [s.seen_ms for s in site.summary().services]  # noqa: E731
            wait_until(lambda: all(at > seen + 500 for at in looked()), "the watch looked")
            assert "expiry_missing" not in alarms()
    finally:
        site.stop()
