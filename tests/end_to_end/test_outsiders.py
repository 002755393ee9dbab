"""Strangers with nothing but the document rebuild a unit's flags from the wire alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.image.outcome import Flag
from runtime.messages.payloads import OtherCode
from runtime.mqtt_contract.asyncapi import asyncapi_document
from runtime.publishing.message_factory import MessageFactory
from tests.conftest import skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.builders import exam_flag, image, result
from tests.support.node import run_node
from tests.support.unit_under_test import MESSAGE_FACTORY, Unit, now_ms
from tests.support.waiting import CHILD_S, LONG_S, lines_of, next_line, wait_until

SCRIPTS = Path(__file__).parent / "outsiders"
OURS = ("models", "runtime", "converters", "firmware_bridge", "tests")


@pytest.fixture
def document(tmp_path):
    """What a stranger gets of us."""
    file = tmp_path / "asyncapi.json"
    file.write_text(json.dumps(asyncapi_document()))
    return file


def python_outsider(document, port, folder) -> subprocess.Popen:
    """The stranger with paho, in a folder from which nothing of ours can be imported."""
    return subprocess.Popen(
        [sys.executable, "-I", SCRIPTS / "outsider.py", document, str(port), MESSAGE_FACTORY.site],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def node_outsider(document, port) -> subprocess.Popen:
    """The stranger with MQTT.js."""
    script = (SCRIPTS / "outsider.js").read_text()
    return run_node(
        script, str(document), str(port), MESSAGE_FACTORY.site, packages=("mqtt", "ajv")
    )


def say_exams(unit, first, count) -> None:
    """Exams as they go: a view, a provisional flag, a final one."""
    message_factory: MessageFactory = MESSAGE_FACTORY
    for n in range(first, first + count):
        study, at_ms = f"1.2.{n}", now_ms()
        flags = (Flag.NOT_ASSESSED, (Flag.PRIORITY, Flag.NONE)[n % 2])
        seen = image("RCC", result(0.2), image_id=n)
        unit.ledger.add_event(
            message_factory.view_message(
                seen, study_instance_uid=study, at_ms=at_ms, stage_ms={"infer": 9.5}
            ),
            at_ms,
        )
        for revision, flag in enumerate(flags, start=1):
            said = exam_flag(
                study_instance_uid=study, revision=revision, flag=flag, final=revision == 2
            )
            exam = message_factory.exam_message(said, at_ms=at_ms)
            if n % 10 == 0:
                # As a unit of a later minor version says it: the document lets it pass.
                later = {"reasons": (OtherCode("positioning_poor"),)}
                exam = replace(exam, message=exam.message.model_copy(update=later))
            unit.ledger.add_event(exam, at_ms)


def ledger_rows(unit) -> list[list]:
    """What the unit's ledger holds, as a stranger would write it."""
    rows = unit.ledger.transact(
        lambda tx: tx._connection.execute(
            "SELECT seq, topic, payload FROM outbox ORDER BY seq"
        ).fetchall()
    )
    return [[seq, topic, json.loads(payload)] for seq, topic, payload in rows]


def current_flags(rows) -> dict[str, list]:
    """Exam key -> revision and flag, of the last row of each exam."""
    exams = (row for _, _, row in rows if row["schema"] == "mammoedge.exam/1")
    return {exam["exam_key"]: [exam["revision"], exam["flag"]] for exam in exams}


def signal_all(strangers, number) -> None:
    """Stops them, or lets them go on."""
    for stranger in strangers:
        stranger.send_signal(number)


def test_two_strangers_end_with_the_ledger_through_three_deaths_of_the_broker(document, tmp_path):
    """Python and Node; the broker killed without its memory, also while nobody listened."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    broker = Mosquitto(tmp_path / "broker").start()
    unit = Unit(tmp_path / "unit", broker.port, health_interval_s=0.2)
    strangers = [
        python_outsider(document, broker.port, tmp_path),
        node_outsider(document, broker.port),
    ]
    try:
        for stranger in strangers:
            assert next_line(stranger.stdout, "a stranger that listens") == "listening\n"
        say_exams(unit, 1, 5)
        unit.start()
        for n in range(3):
            say_exams(unit, 100 * (n + 1), 10)
            if n == 1:
                # Nobody listens to what is acknowledged now: it can only come by replay.
                signal_all(strangers, signal.SIGSTOP)
            broker.kill()
            say_exams(unit, 100 * (n + 1) + 50, 10)
            broker.start()
            wait_until(unit.all_delivered, what="delivered, to whomever")
            signal_all(strangers, signal.SIGCONT)
        expected = ledger_rows(unit)
        assert len(expected) == 3 * 65
        for stranger in strangers:
            stranger.stdin.write("finish\n")
            stranger.stdin.flush()
        ends = []
        for stranger in strangers:
            told = list(lines_of(stranger.stdout, "a stranger's end", CHILD_S))
            assert stranger.wait(LONG_S) == 0
            end = json.loads(told[-1])
            ends.append(end)
            assert end["faults"] == []
            assert end["rows"] == expected
            assert end["flags"] == current_flags(expected)
            assert len(end["flags"]) == 65
            assert not [m for m in end.get("modules", ()) if m.split(".")[0] in OURS]
        assert sum(end["asked"] for end in ends) > 0
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait(LONG_S)
        unit.close()
        broker.kill()
