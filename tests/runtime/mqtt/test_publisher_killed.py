"""A publisher's process that is killed: the will speaks, and the next life goes on where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.waiting import LONG_S, wait_until

ROOT_FOLDER = Path(__file__).parents[3]

# One life of a unit: says an event every few milliseconds until it is killed.
LIFE = """
import sys, time
from pathlib import Path
from tests.support.unit_under_test import Unit
unit = Unit(Path(sys.argv[1]), int(sys.argv[2]))
unit.publisher.start()
while True:
    unit.say()
    time.sleep(0.003)
"""


def live(folder, port) -> subprocess.Popen:
    """Starts a life."""
    return subprocess.Popen([sys.executable, "-c", LIFE, str(folder), str(port)], cwd=ROOT_FOLDER)


def test_kill_9_is_seen_as_offline_and_costs_nothing(broker, subscribe, unit, tmp_path):
    """Offline by the will; after each restart birth first; no gap, and doubles are identical."""
    subscriber = subscribe(broker.port)
    folder = tmp_path / "unit0"
    for life in range(4):
        process = live(folder, broker.port)
        so_far = len(subscriber.numbered())
        wait_until(lambda: subscriber.statuses()[-1:] == ["online"], what=f"birth {life}")
        wait_until(lambda n=so_far: len(subscriber.numbered()) > n + 20, what="rows")
        time.sleep(0.01 * life)
        process.send_signal(signal.SIGKILL)
        process.wait(LONG_S)
        wait_until(lambda: subscriber.statuses()[-1:] == ["offline"], what=f"will {life}")
    last_life = unit(broker.port).start()
    last = last_life.say()
    wait_until(lambda: last in subscriber.once(), what="the last row")
    assert subscriber.gaps(last) == []
    payloads: dict[int, bytes] = {}
    for seq, record in subscriber.numbered():
        assert payloads.setdefault(seq, record.payload) == record.payload
    assert subscriber.statuses()[-1] == "online"


def test_a_unit_that_comes_back_before_its_death_was_noticed_ends_online(
    mosquitto, subscribe, tmp_path
):
    """The same client name: the will of the life before comes before the birth, not after it."""
    broker = mosquitto().start()
    subscriber = subscribe(broker.port)
    first = live(tmp_path / "first", broker.port)
    wait_until(lambda: subscriber.statuses() == ["online"], what="birth")
    # Stopped, not killed: its socket stays open, as after a power cut.
    first.send_signal(signal.SIGSTOP)
    second = live(tmp_path / "second", broker.port)
    wait_until(lambda: len(subscriber.statuses()) >= 3, what="will and birth")
    assert subscriber.statuses() == ["online", "offline", "online"]
    for process in (first, second):
        process.kill()
        process.wait(LONG_S)
