"""Lines, filters and conditions: what a script may rely on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest

from runtime.cli.main import main
from runtime.messages.payloads import EventKind
from runtime.site.live_model.change import Change, ChangeKind
from runtime.site.terminal.filters import ConditionError, parse_condition
from runtime.site.terminal.lines import line_of
from tests.conftest import ROOT
from tests.runtime.site.stories import record, troubled_site
from tests.support.brokers import free_port
from tests.support.waiting import CHILD_S, lines_of, next_line, wait_until


@pytest.fixture
def recording(tmp_path):
    """A recording of the troubled site."""
    return record(tmp_path / "r.jsonl", troubled_site())


def tail(capsys, *arguments) -> tuple[int, list[str], str]:
    """(exit code, lines, what was said on standard error)."""
    code = main(["tail", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err


def test_a_recording_as_lines(recording, capsys):
    """One line for each change; what is sent by strangers cannot steer the terminal."""
    code, lines, _ = tail(capsys, "--replay", recording)
    assert code == 0
    assert lines[0].split() == ["15:04:05.678", "-", "connected"]
    exam = next(line for line in lines if "PRIORITY" in line)
    assert exam.split()[1:7] == ["mammo-1", "exam", "PRIORITY", "0.750", "final", "r1"]
    assert any("gap_opened" in line and "2-3" in line for line in lines)
    foreign = next(line for line in lines if " foreign " in line)
    assert "not_json" in foreign
    assert not any(character < " " for line in lines for character in line)


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        (("--unit", "mammo-2", "--kind", "exam"), ["exam", "exam"]),
        (("--flag", "priority", "--kind", "exam"), ["exam"]),
        (("--flag", "none"), ["view", "exam"]),
        (("--kind", "gap_opened", "--kind", "foreign"), ["gap_opened", "foreign"]),
        (("--kind", "health"), ["health", "health"]),
        (("--count", "2"), ["connected", "unit_new"]),
    ],
)
def test_filters_show_what_is_asked_for(recording, capsys, options, titles):
    """By unit, flag and kind; all of them must hold."""
    code, lines, _ = tail(capsys, "--replay", recording, *options)
    assert (code, [line.split()[2] for line in lines]) == (0, titles)


def test_json_lines_carry_the_whole_message(recording, capsys):
    """What a machine reads is the message itself, and what it changed."""
    _, lines, _ = tail(capsys, "--replay", recording, "--json", "--kind", "exam")
    said = [json.loads(line) for line in lines]
    assert [(each["change"], each["message"]["flag"]) for each in said] == [
        ("row", "priority"), ("row", "none"), ("row", "not_assessed"),
    ]  # fmt: skip
    assert said[0]["message"]["schema"] == "mammoedge.exam/1"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("flag=priority", 0), ("flag=priority,unit=mammo-2", 3), ("state=offline", 0),
        ("seq=4", 0), ("seq=5", 3), ("kind=gap_opened", 0), ("event=disk_low", 3),
        ("final=true,flag=not_assessed", 0), ("final=false", 3), ("exam=6d27421a", 0),
    ],
)  # fmt: skip
def test_until_ends_with_the_exit_code_that_it_promises(recording, capsys, condition, code):
    """0: met; 3: the recording ended before."""
    assert tail(capsys, "--replay", recording, "--until", condition)[0] == code


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--until", "party=yes"), "party"),
        (("--until", "flag=maybe"), "priority"),
        (("--until", "seq=-1"), "number"),
        (("--kind", "party"), "expected one of"),
        (("--site", "_site"), "--site"),
        ((), "--site"),
        (("--site", "s", "--broker", "h:1", "--ca", "x", "--no-tls"), "tls"),
        (("--site", "s", "--broker", "far.example", "--no-tls", "--username", "u"), "password"),
    ],
)
def test_wrong_usage_is_told_with_what_would_be_right(capsys, arguments, word):
    """Exit code 2, one line, no traceback."""
    code, lines, error = tail(capsys, *arguments)
    assert (code, lines) == (2, [])
    assert word in error


def test_a_recording_has_no_broker_to_ask(recording, capsys):
    """Options that need one are refused with it; a missing file is a fault."""
    assert tail(capsys, "--replay", recording, "--follow-gaps")[0] == 2
    assert tail(capsys, "--replay", recording.with_name("none"))[0] == 1


def test_every_condition_of_the_help_is_known():
    """The keys that --help names can be parsed, and no others."""
    good = parse_condition(
        "unit=a,kind=exam,flag=none,final=true,state=online,event=fault,exam=0,seq=1"
    )
    assert len(good.parts) == 8
    with pytest.raises(ConditionError, match="expected"):
        parse_condition("unit")


def test_a_name_with_control_characters_is_shown_without():
    """A line for people stays one line."""
    change = Change(kind=ChangeKind.DISCONNECTED, at_ms=0, detail="a\x1b]0;x\x07\nb\u2028c")
    assert line_of(change).endswith("a·]0;x··b·c")


# --- with a broker ----------------------------------------------------------------------------


def start_tail(port, *arguments) -> subprocess.Popen:
    """`mammoedge tail` as a process of its own."""
    options = ("--site", "st-anna", "--no-tls", "--broker", f"127.0.0.1:{port}")
    return subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "tail", *options, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_broker_that_is_not_there_has_its_own_exit_code(capsys):
    """4: the time was over and nobody was ever reached."""
    options = ("--site", "s", "--broker", f"127.0.0.1:{free_port()}", "--no-tls")
    code, lines, _ = tail(capsys, *options, "--timeout", "0.5", "--count", "9")
    assert code == 4
    assert "disconnected" in lines[0]


def test_a_script_waits_for_a_flag(mosquitto, unit, capsys):
    """`--until flag=priority` ends with 0 as soon as the unit says it."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    threading.Timer(0.3, publisher.say_exam).start()
    code, lines, _ = tail(
        capsys, "--site", "st-anna", "--broker", f"127.0.0.1:{broker.port}", "--no-tls",
        "--flag", "priority", "--until", "flag=priority,final=true", "--timeout", "60",
    )  # fmt: skip
    assert code == 0
    assert "PRIORITY" in lines[-1]


def test_follow_gaps_brings_back_what_the_broker_lost(mosquitto, unit):
    """Rows that were acknowledged while nobody heard are asked for, come, and are marked so."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    process = start_tail(
        broker.port, "--json", "--follow-gaps", "--kind", "connected", "--kind", "event",
        "--until", "kind=gap_closed", "--timeout", "120",
    )  # fmt: skip
    lines = lines_of(process.stdout, "the lines of tail", CHILD_S)
    assert json.loads(next(lines))["change"] == "connected"
    publisher.say(3)
    rows = [json.loads(next(lines)) for _ in range(3)]
    process.send_signal(signal.SIGSTOP)
    broker.restart()
    publisher.say(3)
    wait_until(publisher.all_delivered, what="delivered to nobody")
    process.send_signal(signal.SIGCONT)
    assert json.loads(next(lines))["change"] == "connected"
    publisher.say(1)
    rows += [json.loads(line) for line in lines]
    assert process.wait(60) == 0
    assert {row["message"]["seq"] for row in rows} == set(range(1, 8))
    assert {row["message"]["seq"] for row in rows if row.get("replayed")} == {4, 5, 6}


def test_a_signal_ends_it_in_order(mosquitto):
    """SIGTERM: 143; SIGINT: 130; nothing on standard error."""
    broker = mosquitto().start()
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start_tail(broker.port)
        assert "connected" in next_line(process.stdout, "connected")
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (code, "")


def test_what_is_recorded_is_what_was_heard(mosquitto, unit, capsys, tmp_path):
    """`--record`, then `--replay`: the same lines; an existing file is not written over."""
    broker = mosquitto().start()
    publisher = unit(broker.port).start()
    options = ("--site", "st-anna", "--broker", f"127.0.0.1:{broker.port}", "--no-tls")
    path = tmp_path / "heard.jsonl"
    threading.Timer(0.3, lambda: publisher.say(4, kind=EventKind.FAULT)).start()
    live = tail(capsys, *options, "--record", path, "--until", "seq=4", "--timeout", "60")
    again = tail(capsys, "--replay", path, "--until", "seq=4")
    assert (live[0], again[0]) == (0, 0)
    assert live[1] == again[1]
    assert tail(capsys, *options, "--record", path, "--timeout", "1")[0] == 1
