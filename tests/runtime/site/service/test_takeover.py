"""Two services share the load and one is gone for good: the other has everything."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from tests.runtime.conftest import mosquitto, unit  # noqa: F401 - fixtures
from tests.support.site_service import RunningSite
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(280)

EXAMS = 24
WATCH = {
    "look_every_s": 0.2,
    # As short as in the report: what lies in a dead member's queue was given up after five.
    "replay_after_s": 0.5,
    "replay_pause_s": 1.0,
}


class OtherService:
    """A member of the group in a process of its own, to be killed or frozen."""

    def __init__(self, folder, port, database) -> None:
        folder.mkdir()
        settings = folder / "site.toml"
        settings.write_text(
            f'[site]\nname = "st-anna"\nservice = "site-2"\n[broker]\nhost = "127.0.0.1"\n'
            f'port = {port}\ntls = false\n[store]\ndatabase = "{database}"\n'
            '[listen]\ngroup = "books"\ntakeover_after_s = 5\n[watch]\nlook_every_s = 1\n'
            "[metrics]\nenabled = false\n"
        )
        self.log = folder / "log"
        self._command = [
            sys.executable,
            "-m",
            "runtime.cli.main",
            "site",
            "--config",
            str(settings),
        ]
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Starts it, or starts it again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        os.kill(self.process.pid, number)
        if number is signal.SIGKILL:
            self.process.wait(20)

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL)


@pytest.fixture
def pair(tmp_path, mosquitto):  # noqa: F811
    """A broker, a service in this process, and another beside it on one database."""
    broker = mosquitto().start()
    path = tmp_path / "site.db"
    group = {"group": "books", "takeover_after_s": 5.0}
    one = RunningSite(
        tmp_path / "one", broker.port, f"sqlite:///{path}", listen=group, watch=WATCH
    ).start()
    its_way = tmp_path / "way.db"
    its_way.symlink_to(path)
    two = OtherService(tmp_path / "two", broker.port, f"sqlite:///{its_way}")
    try:
        wait_until(
            lambda: heard_by(one, "site-2"),
            timeout_s=90,
            what=lambda: f"the second service listens: {two.log.read_text()[-500:]}",
        )
        yield broker, one, two
    finally:
        two.end()
        one.stop()


def heard_by(site, name: str) -> bool:
    """Whether a service says that the broker lets it listen."""
    with sqlite3.connect(site.store.url.database, timeout=30) as books:
        row = books.execute("SELECT said FROM services WHERE service = ?", (name,)).fetchone()
    return row is not None and '"broker_up": true' in row[0]


def books_of(site) -> tuple[int, int, int]:
    """Final exams, numbers missing, numbers lost."""
    with sqlite3.connect(site.store.url.database, timeout=30) as books:
        (exams,) = books.execute("SELECT count(*) FROM exams WHERE final = 1").fetchone()
        rows = books.execute("SELECT sum(missing), sum(lost) FROM streams").fetchone()
    return exams, *rows


def test_the_survivor_has_what_waited_for_the_dead(pair, unit):  # noqa: F811
    """Killed for good while exams go on: all of them, none lost, and its share comes back."""
    broker, one, two = pair
    speaker = unit(broker.port, health_interval_s=0.5).start()
    for number in range(EXAMS // 2):
        speaker.say_exam(study=f"1.2.{number}")
    two.send(signal.SIGKILL)
    for number in range(EXAMS // 2, EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(speaker.all_delivered, what="the broker has them")
    wait_until(lambda: books_of(one) == (EXAMS, 0, 0), timeout_s=60, what="all in the books")
    wait_until(lambda: taken_over(one), timeout_s=60, what="its session is taken over")
    for number in range(EXAMS, 2 * EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: books_of(one) == (2 * EXAMS, 0, 0), timeout_s=20, what="no share is away")


@pytest.mark.parametrize("away", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_comes_back_shares_the_load_again(pair, unit, away):  # noqa: F811
    """Started again, or thawed with its old connection, after its session was taken over."""
    broker, one, two = pair
    speaker = unit(broker.port, health_interval_s=0.5).start()
    two.send(away)
    for number in range(EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: taken_over(one), timeout_s=60, what="its session is taken over")
    if away is signal.SIGSTOP:
        two.send(signal.SIGCONT)
    else:
        two.start()
    wait_until(
        lambda: heard_by(one, "site-2") and not taken_over(one), timeout_s=90, what="it is back"
    )
    for number in range(EXAMS, 2 * EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: books_of(one) == (2 * EXAMS, 0, 0), timeout_s=60, what="all in the books")


def test_one_that_stops_in_order_is_followed(pair, unit):  # noqa: F811
    """What came for it after its end is heard, it raises no alarm, and its row goes."""
    broker, one, two = pair
    speaker = unit(broker.port, health_interval_s=0.5).start()
    two.send(signal.SIGTERM)
    two.process.wait(30)
    for number in range(EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: books_of(one) == (EXAMS, 0, 0), timeout_s=60, what="all in the books")
    wait_until(lambda: not row_of(one, "site-2"), timeout_s=60, what="it is forgotten")


def test_one_that_has_lost_the_database_leaves_its_share(pair, unit, tmp_path):  # noqa: F811
    """It stands aside and does not fight for its name; back at the database it listens again."""
    broker, one, _two = pair
    speaker = unit(broker.port, health_interval_s=0.5).start()
    its_way = tmp_path / "way.db"
    its_way.rename(tmp_path / "away")
    for number in range(EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: books_of(one) == (EXAMS, 0, 0), timeout_s=60, what="all in the books")
    wait_until(lambda: taken_over(one), timeout_s=60, what="its session is taken over")
    (tmp_path / "away").rename(its_way)
    wait_until(
        lambda: heard_by(one, "site-2") and not taken_over(one), timeout_s=90, what="it is back"
    )
    for number in range(EXAMS, 2 * EXAMS):
        speaker.say_exam(study=f"1.2.{number}")
    wait_until(lambda: books_of(one) == (2 * EXAMS, 0, 0), timeout_s=60, what="all in the books")


def row_of(site, name: str) -> list:
    """What stands of a service."""
    with sqlite3.connect(site.store.url.database, timeout=30) as books:
        return books.execute("SELECT said FROM services WHERE service = ?", (name,)).fetchall()


def taken_over(site) -> bool:
    """Whether the second one's session was emptied and ended."""
    return any("taken_over_by" in said for (said,) in row_of(site, "site-2"))
