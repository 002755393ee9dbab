"""The supervisor and a worker that misbehaves: every image ends in an outcome, once."""

from __future__ import annotations

import random
import sys

import pytest

from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.exam_service import ExamService
from runtime.exams.registration import ActivePackage, SpooledObject
from runtime.image.outcome import NotAssessed, ViewResult
from runtime.image.reasons import Reason
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind
from runtime.publishing.message_factory import MessageFactory
from runtime.worker.protocol import Start
from runtime.worker.supervisor import Supervisor, WorkerLimits
from tests.support.builders import MODEL, header, manifest
from tests.support.waiting import wait_until


class Bench:
    """A supervisor on a real ledger with one image waiting, and a worker of the given mode."""

    def __init__(self, folder, mode, *, longest_wait_s=600.0):
        self.events: list[EventKind] = []
        self.ledger = Ledger(folder / "ledger.db")
        self.desk = ExamService(
            ledger=self.ledger,
            message_factory=MessageFactory(site="s", unit="u", boot_id="b", site_key=b"k" * 32),
            rules=ExamRules(expected_views=("RCC",), idle_timeout_ms=60_000, exam_rule="max_view"),
            active=ActivePackage(manifest=manifest(), model=MODEL),
            clock_ms=lambda: 1_000_000,
        )
        self.supervisor = Supervisor(
            start=Start(
                package=folder,
                model=MODEL,
                devices=("CPU",),
                cache_folder=folder,
                threads=None,
                max_megapixels=1,
                evidence_maps=False,
                allow_unsigned=True,
                trusted_keys=(),
            ),
            limits=WorkerLimits(
                start_timeout_s=20, job_timeout_s=20, longest_wait_s=longest_wait_s
            ),
            ledger=self.ledger,
            desk=self.desk,
            report=lambda kind, _detail: self.events.append(kind),
            judged=lambda _outcome: None,
            changed=lambda: None,
            randomness=random.Random(1),
            reached=lambda _point: None,
            clock_ms=lambda: 2_000_000,
            worker_command=(sys.executable, "-m", "tests.runtime.worker.fake_worker", mode),
        )

    def receive(self):
        """One image, whose file nobody opens here."""
        self.desk.receive(
            SpooledObject(
                header=header("RCC"),
                sha256="1" * 64,
                path="/spool/a.dcm",
                size_bytes=1,
                source="test",
                peer="",
            )
        )
        self.supervisor.wake()

    def outcome(self):
        """What became of it, as soon as something has."""
        images = lambda: self.ledger.transact(lambda tx: tx.exam_images("1.2.3"))  # noqa: E731
        wait_until(lambda: images() and images()[0].outcome is not None, "an outcome")
        return images()[0].outcome

    def close(self):
        self.supervisor.stop(1)
        self.ledger.close()


@pytest.fixture
def bench_of(tmp_path):
    benches = []

    def make(mode, **options):
        benches.append(Bench(tmp_path, mode, **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_a_good_worker_answers(bench_of):
    """The job is done, nothing is reported."""
    bench = bench_of("good")
    bench.receive()
    bench.supervisor.start()
    assert isinstance(bench.outcome(), ViewResult)
    assert bench.events == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("dies of jobs", Reason.PROCESSING_FAILED),
        ("garbage", Reason.PROCESSING_FAILED),
        ("forgets an image", Reason.ENGINE_FAULT),
        ("another image", Reason.ENGINE_FAULT),
        ("impossible score", Reason.ENGINE_FAULT),
    ],
)
def test_a_worker_that_fails_twice_ends_the_job_not_assessed(bench_of, mode, reason):
    """Two workers are lost over it, not three; the image ends with the reason."""
    bench = bench_of(mode)
    bench.receive()
    bench.supervisor.start()
    outcome = bench.outcome()
    assert isinstance(outcome, NotAssessed)
    assert outcome.reasons == (reason,)
    assert bench.events == [EventKind.WORKER_RESTARTED] * 2


def test_a_death_over_a_hint_counts_for_its_job(bench_of):
    """An image that kills the worker before its job is there has one more try, not two."""
    bench = bench_of("dies of hints")
    bench.supervisor.start()
    assert bench.supervisor.wait_until_ready(60)
    bench.supervisor.anticipate("/spool/a.dcm")
    wait_until(lambda: bench.events, "the first worker is lost")
    bench.receive()
    assert isinstance(bench.outcome(), NotAssessed)
    assert bench.events == [EventKind.WORKER_RESTARTED] * 2


def test_without_any_worker_images_end_not_assessed(bench_of):
    """No device, no worker: after the longest wait the images say engine_fault, not nothing."""
    bench = bench_of("cannot start", longest_wait_s=1)
    bench.receive()
    bench.supervisor.start()
    outcome = bench.outcome()
    assert outcome.reasons == (Reason.ENGINE_FAULT,)
    assert bench.supervisor.state.faults == ("no device",)
    assert bench.events[0] is EventKind.FAULT
