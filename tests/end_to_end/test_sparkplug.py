"""The unit as a Sparkplug B edge node, decoded by somebody else's library."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
import venv
from pathlib import Path

import pytest

from runtime.sparkplug.edge_node import EdgeNode
from runtime.sparkplug.node import NodeTopics
from tests.conftest import skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.recording_proxy import RecordingProxy
from tests.support.unit_under_test import Unit
from tests.support.units import ROOT, SITE, UNIT
from tests.support.waiting import CHILD_S, LONG_S, wait_until

GROUP, NODE = "st-anna", "mammo-1"


@pytest.fixture(scope="module")
def host_python(tmp_path_factory) -> Path:
    """An environment of its own: pysparkplug wants another paho than ours."""
    folder = tmp_path_factory.mktemp("sparkplug-host")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "pysparkplug==0.6.1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    if done.returncode:
        pytest.skip("pysparkplug cannot be installed here (offline?)")
    return python


class Host:
    """The independent host's process and what it printed."""

    def __init__(self, python: Path, port: int) -> None:
        self.lines: list[dict] = []
        self._process = subprocess.Popen(
            [python, ROOT / "tests" / "support" / "sparkplug_host.py", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: self.lines, "the host subscribes")

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def of(self, kind: str) -> list[dict]:
        """Its messages of one kind."""
        return [line for line in list(self.lines) if line["kind"] == kind]

    def ask_for_rebirth(self) -> None:
        """As a host does that missed something."""
        self._process.stdin.write(f"{GROUP} {NODE}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait(LONG_S)


def edge_node(unit: Unit, port: int) -> EdgeNode:
    """On the unit's ledger, by a port of its own."""
    return EdgeNode(
        topics=NodeTopics(group=GROUP, node=NODE),
        client_id="sparkplug",
        ledger=unit.ledger,
        broker=unit._settings.model_copy(update={"port": port}),
        status_provider=unit._status,
        clock_ms=unit.clock_ms,
        monotonic=time.monotonic,
        randomness=random.Random(1),
    )


def test_an_independent_host_follows_births_flags_and_deaths(host_python, tmp_path):
    """bdSeq of death and birth agree, seq has no gap, a rebirth is obeyed, flags are ours."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    with Mosquitto(tmp_path / "broker") as broker, RecordingProxy(broker.port) as cable:
        host = Host(host_python, broker.port)
        unit = Unit(tmp_path / "unit", broker.port)
        node = edge_node(unit, cable.port)
        try:
            node.start()
            wait_until(lambda: host.of("DBIRTH"), what="births")
            (birth,) = host.of("NBIRTH")
            assert birth["metrics"]["bdSeq"] == {
                "type": "INT64",
                "value": 0,
                "null": False,
                "historical": False,
            }
            assert birth["metrics"]["Node Control/Rebirth"]["value"] is False
            assert host.of("DBIRTH")[0]["metrics"]["Exam/Flag"]["null"]
            seq = unit.say_exam(revision=2)
            wait_until(lambda: host.of("DDATA"), what="a flag")
            flag = host.of("DDATA")[0]["metrics"]
            assert flag["Exam/Flag"]["value"] == "priority"
            assert flag["Exam/Key"]["value"] == unit.message_factory.exam_key("1.2.3")
            assert (flag["Exam/Revision"]["value"], flag["Exam/Seq"]["value"]) == (2, seq)
            assert (flag["Exam/Final"]["value"], flag["Exam/Score"]["value"]) == (True, 0.75)
            assert not flag["Exam/Flag"]["historical"]
            host.ask_for_rebirth()
            wait_until(lambda: len(host.of("DBIRTH")) == 2, what="a rebirth")
            assert host.of("NBIRTH")[1]["metrics"]["bdSeq"]["value"] == 0
            assert host.of("DBIRTH")[1]["metrics"]["Exam/Flag"]["value"] == "priority"
            first_life = [line for line in host.lines if "topic" in line]
            cable.cut()  # the will speaks
            wait_until(lambda: host.of("NDEATH"), what="a death")
            assert host.of("NDEATH")[0]["metrics"]["bdSeq"]["value"] == 0
            missed = unit.say_exam(study="1.2.4")
            node.stop()
            node = edge_node(unit, broker.port)
            node._cursor.seq = seq
            node.start()
            wait_until(lambda: len(host.of("DBIRTH")) == 3, what="the next birth")
            wait_until(
                lambda: host.of("DDATA")[-1]["metrics"]["Exam/Seq"]["value"] == missed,
                what="the flag that waited",
            )
            assert host.of("DDATA")[-1]["metrics"]["Exam/Flag"]["historical"]
            assert host.of("NBIRTH")[2]["metrics"]["bdSeq"]["value"] >= 1
            node.stop()
            wait_until(lambda: len(host.of("NDEATH")) == 2, what="the clean end")
            assert (
                host.of("NDEATH")[1]["metrics"]["bdSeq"] == host.of("NBIRTH")[2]["metrics"]["bdSeq"]
            )
            for line in first_life:
                assert line["topic"].startswith(f"spBv1.0/{GROUP}/{line['kind']}/{NODE}")
                assert not line["retain"]
            births = [i for i, line in enumerate(first_life) if line["kind"] == "NBIRTH"]
            assert len(births) == 2
            for start, end in zip(births, [*births[1:], len(first_life)], strict=True):
                numbers = [line["seq"] for line in first_life[start:end]]
                assert numbers == list(range(len(numbers)))
        finally:
            node.stop()
            unit.close()
            host.close()


def test_a_service_with_the_section_is_an_edge_node(story):
    """`[sparkplug] enabled = true`: born with the service, dead with it."""
    import paho.mqtt.client as mqtt

    story.broker.start()
    topics: list[str] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _c, _u, message: topics.append(message.topic)
    client.connect(story.broker.host, story.broker.port)
    client.subscribe("spBv1.0/#", 1)
    client.loop_start()
    unit = story.unit(more_toml="[sparkplug]\nenabled = true\n").start().wait_listening()
    wait_until(
        lambda: f"spBv1.0/{SITE}/DBIRTH/{UNIT}/triage" in topics,
        lambda: f"the birth: {unit.log[-2000:]}",
    )
    assert unit.stop() == 0
    wait_until(lambda: topics[-1] == f"spBv1.0/{SITE}/NDEATH/{UNIT}", what="the death")
    client.disconnect()
    client.loop_stop()
