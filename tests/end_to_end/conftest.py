"""A broker, a unit and a subscriber, all real, for one story each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.packages import build_package
from tests.support.subscriber import Record, Subscriber
from tests.support.units import ROOT, SITE, UNIT, UnitProcess
from tests.support.waiting import CHILD_S, wait_until

# pynetdicom puts commands of the same names into the environment: these are dcmtk's.
STORESCU = Path("/usr/bin/storescu")
DCMSEND = Path("/usr/bin/dcmsend")


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> dict[str, Path]:
    """Small packages by scope; the score of scope `view` is the image's brightness."""
    folder = tmp_path_factory.mktemp("packages")
    return {
        "view": build_package(folder, score="brightness", name="brightness", threshold=0.15),
        "exam": build_package(folder, scope="exam", name="four-view"),
        "breast": build_package(folder, scope="breast", name="two-view"),
    }


@dataclass
class ExamTimeline:
    """What a test plays with; everything ends with it."""

    folder: Path
    packages: dict[str, Path]
    stack: ExitStack
    broker: Mosquitto = field(init=False)

    def __post_init__(self) -> None:
        self.broker = Mosquitto(self.folder / "broker")
        self.stack.callback(self.broker.kill)

    def unit(self, *, package: str | Path = "view", **settings: object) -> UnitProcess:
        """A unit of this story; not started yet."""
        path = self.packages[package] if isinstance(package, str) else package
        unit = UnitProcess(
            self.folder / "unit", package=path, broker_port=self.broker.port, **settings
        )
        self.stack.callback(unit.kill)
        return unit

    def subscriber(self) -> Subscriber:
        """An independent subscriber; the broker must run."""
        return self.stack.enter_context(Subscriber(self.broker.port, site=SITE, unit=UNIT))


@pytest.fixture
def story(tmp_path, packages) -> Iterator[ExamTimeline]:
    """A broker (not started), and units and subscribers on demand."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    with ExitStack() as stack:
        yield ExamTimeline(tmp_path, packages, stack)


def exam_messages(subscriber: Subscriber, study_uid: str, unit: UnitProcess) -> list[Record]:
    """The revisions of one exam, as they arrived, without doubles."""
    topic = f"exam/{unit.message_factory().exam_key(study_uid)}"
    return [record for record in subscriber.once().values() if record.topic == topic]


def wait_for_final(
    subscriber: Subscriber,
    study_uid: str,
    unit: UnitProcess,
    timeout_s: float = 60,
    *,
    images: int = 1,
) -> dict:
    """The exam's final flag that rests on so many images, or more."""

    def last_is_final() -> bool:
        messages = exam_messages(subscriber, study_uid, unit)
        last = messages[-1].body if messages else {"final": False}
        return last["final"] and len(last["views"]) >= images

    wait_until(last_is_final, lambda: f"a final flag; the log ends:\n{unit.log[-3000:]}", timeout_s)
    return exam_messages(subscriber, study_uid, unit)[-1].body


def dcmtk_send(program: Path, unit: UnitProcess, files: list[Path], *options: str) -> str:
    """Sends with a real dcmtk program; its output, version first."""
    if not program.exists():
        skip_or_fail(f"{program} (Debian's dcmtk) is not installed")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True, timeout=CHILD_S
    )
    sent = subprocess.run(
        [program, "-v", "-aec", "UNIT", *options, "127.0.0.1", str(unit.dicom_port), *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    text = version.stdout.splitlines()[0] + "\n" + sent.stdout + sent.stderr
    assert sent.returncode == 0, text
    return text


def mammoedge(*arguments):
    """Runs a command of ours."""
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
