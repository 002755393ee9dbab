"""The plug is pulled at named points, again and again: nothing is lost, nothing is said twice.

Every image that was answered with Success ends in exactly one final flag of its exam, and the
subscriber sees no gap in `seq` after de-duplication and replay.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import Outcome, PeerUnreachableError, StorageScu, outgoing
from tests.conftest import skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.exams import write_exam
from tests.support.packages import build_package
from tests.support.subscriber import Subscriber
from tests.support.units import SITE, UNIT, UnitProcess
from tests.support.waiting import LONG_S, joined

EXAMS = 100
MOST_EXAMS = 130
KILLS = 30
MOST_SKIPPED = 9
MOST_OPEN = 3
POINTS = {
    "control": (
        "spooled",
        "received",
        "claimed",
        "judged",
        "recorded",
        "published",
        "acknowledged",
    ),
    "worker": ("claimed", "judged", "spooled", "received"),
    "broker": ("received", "recorded", "published", "acknowledged"),
}
LONGEST_S = 840

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONGEST_S + 60)]


@dataclass
class Site:
    """The unit, the broker and the subscriber of one story, and what happened."""

    unit: UnitProcess
    broker: Mosquitto
    subscriber: Subscriber
    victim: str
    draw: random.Random
    record: object
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def pid_file(self):
        """Where the broker's process is named."""
        return self.unit.folder / "broker.pid"

    def start(self) -> None:
        """One life of the unit, with as many plans as pulls are left."""
        self.pid_file.write_text(str(self.broker.process.pid))
        plans = [
            f"{self.draw.choice(POINTS[self.victim])}:{self.draw.randint(1, MOST_SKIPPED)}"
            for _ in range(KILLS - self.pulled())
        ]
        self.unit.start(
            *("--pull", *plans, "--victim", self.victim),
            *("--record", str(self.record), "--broker-pid-file", str(self.pid_file)),
        )

    def pulled(self) -> int:
        """How often the plug was pulled so far."""
        return len(self.record.read_text().splitlines()) if self.record.exists() else 0

    def watch(self) -> None:
        """Starts again what was killed, until the story is over."""
        while not self.done.wait(0.02):
            if self.broker.process.poll() is not None:
                self.broker.process = None
                self.broker.start()
                self.pid_file.write_text(str(self.broker.process.pid))
            if self.unit.process.poll() is not None:
                self.start()


def send_until_stored(unit: UnitProcess, exam, deadline: float) -> None:
    """What a unit does: the images that were not answered with Success are sent again."""
    waiting = dict(exam.files)
    while waiting:
        assert time.monotonic() < deadline, f"not stored in time: {sorted(waiting)}"
        files = {view: outgoing(path) for view, path in waiting.items()}
        try:
            with StorageScu(
                Destination.parse(unit.address), list(files.values()), response_timeout_s=LONG_S
            ) as sender:
                for view, file in files.items():
                    if sender.send(file).outcome is Outcome.STORED:
                        del waiting[view]
        except (PeerUnreachableError, OSError):
            time.sleep(0.05)


def final_flags(subscriber: Subscriber) -> Counter:
    """How many final revisions each exam had."""
    return Counter(
        record.body["exam_key"]
        for record in subscriber.once().values()
        if record.topic.startswith("exam/") and record.body.get("final")
    )


def wait_for_all(site: Site, keys: set[str], deadline: float) -> None:
    """Until every exam is final and no number is missing; asks for replay when one is."""
    asked = 0.0
    while True:
        once = site.subscriber.once()
        missing = site.subscriber.gaps(max(once, default=0))
        if keys <= set(final_flags(site.subscriber)) and not missing:
            return
        assert time.monotonic() < deadline, (
            f"{len(keys - set(final_flags(site.subscriber)))} exams without a final flag,"
            f" missing numbers {missing[:10]}\n{site.unit.log[-3000:]}"
        )
        if time.monotonic() - asked > 12:
            # A subscriber sees a gap, or that the last number it heard of never came.
            site.subscriber.ask_for_replay(missing[0] if missing else max(once, default=0) + 1)
            asked = time.monotonic()
        time.sleep(0.1)


@pytest.mark.parametrize("victim", ["control", "worker", "broker"])
def test_nothing_is_lost_and_nothing_is_doubled(victim, tmp_path, capsys):
    """100 exams, and more until there were 30 kills: one final flag each, no gap, no double."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    package = build_package(tmp_path / "packages", score="brightness")
    exams = []
    deadline = time.monotonic() + LONGEST_S
    with (
        Mosquitto(tmp_path / "broker") as broker,
        UnitProcess(
            tmp_path / "unit",
            package=package,
            broker_port=broker.port,
            idle_timeout_s=3600,
            job_timeout_s=120,  # a busy machine replaces no worker: only we do
            command=("-m", "tests.end_to_end.unit_with_faults"),
        ) as unit,
        Subscriber(broker.port, site=SITE, unit=UNIT) as subscriber,
    ):
        site = Site(
            unit, broker, subscriber, victim, random.Random(victim), tmp_path / "record.txt"
        )
        site.start()
        watcher = threading.Thread(target=site.watch, daemon=True)
        watcher.start()
        try:
            while len(exams) < EXAMS or (site.pulled() < KILLS and len(exams) < MOST_EXAMS):
                # What was killed is away for a second: an exam comes when most of those before it
                # are done, so that the kills fall on work and not on a queue. (A broker forgets:
                # what it lost is asked for at the end.)
                while victim != "broker" and len(final_flags(subscriber)) < len(exams) - MOST_OPEN:
                    assert time.monotonic() < deadline, unit.log[-3000:]
                    time.sleep(0.05)
                exams.append(write_exam(tmp_path / "exams", len(exams), rows=256, columns=208))
                send_until_stored(unit, exams[-1], deadline)
            keys = {unit.message_factory().exam_key(exam.study_uid) for exam in exams}
            wait_for_all(site, keys, deadline)
        finally:
            site.done.set()
            joined(watcher, "the watcher")
        finals = final_flags(subscriber)
        points = Counter((tmp_path / "record.txt").read_text().splitlines())
        seqs = subscriber.once()
        views = [r for r in seqs.values() if "/view/" in r.topic]
        with capsys.disabled():
            print(
                f"\n{victim}: {sum(points.values())} kills {dict(points)}, {unit.starts} lives of"
                f" the unit, {len(finals)} exams, {len(views)} views, {len(seqs)} numbers,"
                f" {len(subscriber.numbered()) - len(seqs)} delivered twice,"
                f" lost {len(keys - set(finals))}"
            )
        assert sum(points.values()) >= KILLS
        assert finals == Counter(dict.fromkeys(keys, 1))
        assert len(views) == 4 * len(exams)
        assert len({r.body["image_key"] for r in views}) == 4 * len(exams)
        assert all(v.body["outcome"] == "judged" for v in views) or victim == "worker"
