"""The supervisor and a worker that misbehaves: every image ends in an outcome, once."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.exam_parts import exam_parts
from runtime.exams.registration import ActivePackage, SpooledObject
from runtime.image.outcome import NotAssessed, ViewResult
from runtime.image.reasons import Reason
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind
from runtime.publishing.message_factory import MessageFactory
from runtime.worker.protocol import Start
from runtime.worker.supervisor import FIRST_PAUSE_S, Supervisor, WorkerLimits
from tests.support.builders import MODEL, header, manifest
from tests.support.waiting import wait_until


class Bench:
    """A supervisor on a real ledger with one image waiting, and a worker of the given mode."""

    def __init__(self, folder, mode, *, longest_wait_s=600.0):
        self.events: list[EventKind] = []
        self.now_ms = 1_000_000
        self.ledger = Ledger(folder / "ledger.db")
        self.exams = exam_parts(
            ledger=self.ledger,
            message_factory=MessageFactory(site="s", unit="u", boot_id="b", site_key=b"k" * 32),
            rules=ExamRules(expected_views=("RCC",), idle_timeout_ms=60_000, exam_rule="max_view"),
            active=ActivePackage(manifest=manifest(), model=MODEL),
            clock_ms=self._clock_ms,
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
            exam_service=self.exams.exam_service,
            events=self,
            changed=lambda: None,
            randomness=random.Random(1),
            worker_command=(sys.executable, "-m", "tests.runtime.worker.fake_worker", mode),
        )

    def _clock_ms(self):
        """Each look is a second later: a job that waits grows old."""
        self.now_ms += 1000
        return self.now_ms

    def publish(self, kind, _detail):
        """Takes the supervisor's events."""
        self.events.append(kind)

    def receive(self):
        """One image, whose file nobody opens here."""
        self.exams.registration.receive(
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
    wait_until(lambda: bench.supervisor.state.ready, "the worker is ready", 60)
    bench.supervisor.anticipate("/spool/a.dcm", "1.2.3.1")
    wait_until(lambda: bench.events, "the first worker is lost")
    bench.receive()
    assert isinstance(bench.outcome(), NotAssessed)
    assert bench.events == [EventKind.WORKER_RESTARTED] * 2


def test_a_repeat_gets_no_hint(bench_of):
    """Poison that is sent again and again does not take a worker down each time."""
    bench = bench_of("dies of hints")
    bench.receive()
    exam_service = bench.exams.exam_service
    exam_service.fail_job(exam_service.next_job().job.job_id, Reason.PROCESSING_FAILED, "")
    bench.supervisor.start()
    wait_until(lambda: bench.supervisor.state.ready, "the worker is ready")
    for _ in range(3):
        bench.supervisor.anticipate("/spool/again.dcm", "1.2.3.1")
        time.sleep(0.1)
    assert bench.events == []
    bench.supervisor.anticipate("/spool/new.dcm", "1.2.3.2")
    wait_until(lambda: bench.events, "another image is tried")


def test_a_worker_that_dies_at_rest_is_replaced_without_an_image(bench_of):
    """SIGKILL between two jobs: said and replaced at once; the next image is its own first try."""
    bench = bench_of("good")
    bench.supervisor.start()
    for life in (1, 2, 3):
        wait_until(lambda life=life: bench.supervisor.state.starts == life, "a worker is ready")
        os.kill(bench.supervisor.state.pid, signal.SIGKILL)
    wait_until(lambda: bench.supervisor.state.starts == 4, "the fourth is ready")
    assert bench.events == [EventKind.WORKER_RESTARTED] * 3
    bench.receive()
    assert isinstance(bench.outcome(), ViewResult)


def test_workers_that_die_at_rest_again_and_again_are_started_more_and_more_slowly(bench_of):
    """A worker that ends as soon as it is ready does not eat the machine."""
    bench = bench_of("dies at rest")
    begun = time.monotonic()
    bench.supervisor.start()
    wait_until(lambda: len(bench.events) == 4, "four are lost")
    assert bench.supervisor.state.starts == 4
    assert time.monotonic() - begun > 2 * FIRST_PAUSE_S


def test_without_any_worker_images_end_not_assessed(bench_of):
    """No device, no worker: after the longest wait the images say engine_fault, not nothing."""
    bench = bench_of("cannot start", longest_wait_s=1)
    bench.receive()
    bench.supervisor.start()
    outcome = bench.outcome()
    assert outcome.reasons == (Reason.ENGINE_FAULT,)
    assert bench.supervisor.state.faults == ("no device",)
    assert bench.events[0] is EventKind.FAULT
