"""Starts, feeds, times out and replaces the pixel worker."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.image.outcome import ViewResult
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind
from runtime.timing.backoff import Backoff
from runtime.worker.latency import StageLatencies
from runtime.worker.protocol import (
    Anticipate,
    CannotStart,
    Done,
    Faulted,
    JudgeJob,
    LinkLostError,
    Ready,
    Start,
    WorkerLink,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from runtime.exams.event_reporter import EventReporter
    from runtime.exams.exam_service import ExamService
    from runtime.image.outcome import Job, JobOutcome
    from runtime.ledger.job_table import OpenJob

LOG = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "runtime.worker")
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """How long a worker may take, and how long a job may wait while no worker can be started."""

    start_timeout_s: float
    job_timeout_s: float
    longest_wait_s: float = 600.0


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """What the supervisor knows of its worker."""

    ready: Ready | None = None
    starts: int = 0
    faults: tuple[str, ...] = ()
    pid: int | None = None
    memory_mb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Worker:
    process: subprocess.Popen[bytes]
    link: WorkerLink

    @property
    def ended(self) -> bool:
        """Whether the child is gone."""
        return self.process.poll() is not None

    def end(self) -> None:
        """Kills the child and waits for it; harmless if it is gone."""
        self.link.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@dataclass(frozen=True, kw_only=True)
class _Coming:
    """A spooled object that the ledger does not know yet."""

    path: str
    sop_instance_uid: str


class Supervisor:
    """One worker, one thread that feeds it. Thread-safe.

    Args:
        start: what a worker is told first.
        limits: of time.
        exam_service: has the jobs, and takes their outcomes.
        events: told of what a worker did wrong.
        changed: called when `state` says something new that the site should hear.
        randomness: spreads the pauses between two starts.
        worker_command: starts a worker; the socket's descriptor and our process follow.
    """

    def __init__(
        self,
        *,
        start: Start,
        limits: WorkerLimits,
        exam_service: ExamService,
        events: EventReporter,
        changed: Callable[[], None],
        randomness: random.Random,
        worker_command: tuple[str, ...] = WORKER_COMMAND,
    ) -> None:
        self._start = start
        self._limits = limits
        self._exam_service = exam_service
        self._events = events
        self._changed = changed
        self._backoff = Backoff(
            first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, randomness=randomness
        )
        self.latencies = StageLatencies()
        self._command = worker_command
        self._news = threading.Condition()
        self._stopping = False
        self._has_work = True
        self._anticipated: _Coming | None = None
        self._died_over: str | None = None
        self._idle_deaths = 0
        self._state = WorkerState()
        self._worker: _Worker | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def state(self) -> WorkerState:
        """The worker as of now."""
        return self._state

    def start(self) -> None:
        """Starts the thread, which starts the worker."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """A job was committed."""
        with self._news:
            self._has_work = True
            self._news.notify_all()

    def anticipate(self, path: str, sop_instance_uid: str) -> None:
        """A view is on its way to the ledger: an idle worker may begin with it.

        A hint and nothing else; the newest one wins. No outcome is written without a job. It buys
        a tenth of the time to the flag of an uncompressed view (`make bench`, with and without
        the body of this method).
        """
        with self._news:
            self._anticipated = _Coming(path=path, sop_instance_uid=sop_instance_uid)
            self._news.notify_all()

    def stop(self, drain_s: float) -> None:
        """Lets the running job finish for at most `drain_s`, then ends the worker."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join(drain_s)
        worker = self._worker
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()  # the thread sees the end of the link, and clears up
        if self._thread.ident is not None:
            self._thread.join()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                well = self._one_life()
            except LedgerError as error:
                # A full disk, say. The job stays open; the next life takes it up again.
                LOG.error("no job can be recorded: %s", error)  # noqa: TRY400 - no defect of ours
                well = False
            if well:
                self._backoff.reset()
                continue
            with self._news:
                self._news.wait_for(lambda: self._stopping, self._backoff.next_s())

    def _one_life(self) -> bool:
        """One worker from start to end; False if the next is to wait a moment.

        That is so if it could not be started, and if two in a row ended without any work.
        """
        worker = self._launch()
        if worker is None:
            self._exam_service.fail_jobs_older_than(
                int(self._limits.longest_wait_s * 1000), "no pixel worker could be started"
            )
            return False
        watch = threading.Thread(target=self._watch, args=(worker,), name="worker-end", daemon=True)
        watch.start()
        try:
            self._feed(worker)
        finally:
            with self._news:
                self._worker = None
                self._state = WorkerState(starts=self._state.starts)
                self._has_work = True
            worker.end()
            if not self._stopping:
                self._changed()
        return self._idle_deaths < 2

    def _watch(self, worker: _Worker) -> None:
        """Wakes the thread that feeds when the child has ended, also between two jobs.

        The wait ends with the child, which `_one_life` kills at the latest.
        """
        with contextlib.suppress(ProcessLookupError):  # it was gone, and cleared up, before us
            child = os.pidfd_open(worker.process.pid)
            end = select.poll()
            end.register(child, select.POLLIN)
            end.poll()
            os.close(child)
        with self._news:
            self._news.notify_all()

    def _launch(self) -> _Worker | None:
        """A worker whose engine is open, or None; the state says why."""
        try:
            return self._greet(*self._spawn())
        except OSError as error:
            # No more processes or descriptors: a start that failed like any other.
            self._say_cannot_start((str(error),), self._state.starts + 1)
            return None

    def _spawn(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Whatever a decoder or a driver prints must not reach our own standard output.
                stdout=sys.stderr.fileno() if _has_fileno() else subprocess.DEVNULL,
            )
        return process, ours

    def _greet(self, process: subprocess.Popen[bytes], ours: socket.socket) -> _Worker | None:
        ours.settimeout(self._limits.start_timeout_s)
        worker = _Worker(process=process, link=WorkerLink(socket=ours))
        with self._news:
            self._worker = worker
        starts = self._state.starts + 1
        try:
            answer = worker.link.ask(self._start)
            faults = answer.faults if isinstance(answer, CannotStart) else ()
        except LinkLostError as error:
            answer, faults = None, (str(error),)
        if not isinstance(answer, Ready):
            worker.end()
            with self._news:
                self._worker = None
            faults = faults or ("the worker did not say that it is ready",)
            self._say_cannot_start(tuple(faults), starts)
            return None
        ours.settimeout(self._limits.job_timeout_s)
        with self._news:
            self._state = WorkerState(ready=answer, starts=starts, pid=process.pid)
            self._news.notify_all()
        self._changed()
        LOG.info(
            "worker ready: pid=%d device=%s precision=%s",
            process.pid,
            answer.execution.actual_device,
            answer.execution.executed_precision,
        )
        return worker

    def _say_cannot_start(self, faults: tuple[str, ...], starts: int) -> None:
        """Once for each new reason."""
        news = faults != self._state.faults
        with self._news:
            self._state = WorkerState(starts=starts, faults=faults)
        if news and not self._stopping:
            self._changed()
            LOG.error("the pixel worker cannot start: %s", "; ".join(faults))
            self._events.publish(EventKind.FAULT, "pixel worker cannot start: " + "; ".join(faults))

    def _feed(self, worker: _Worker) -> None:
        """Gives the worker jobs until it is lost or we stop."""
        while True:
            job, hint = self._next_work(worker)
            if self._stopping:
                return
            if worker.ended:
                self._idle_deaths += 1
                self._lost(worker, "ended between two jobs")
                return
            if hint is not None:
                if not self._follow(worker, hint):
                    return
            elif job is not None and not self._do(worker, job):
                return

    def _next_work(self, worker: _Worker) -> tuple[OpenJob | None, str | None]:
        """The next job, or else a hint; blocks while there is neither and the worker lives."""
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: (
                        self._stopping
                        or worker.ended
                        or self._has_work
                        or self._anticipated is not None
                    )
                )
                if self._stopping or worker.ended:
                    return None, None
                look, self._has_work = self._has_work, False
                hint, self._anticipated = self._anticipated, None
            job = self._exam_service.next_job() if look else None
            if job is not None:
                with self._news:
                    self._has_work = True  # there may be more behind it
                return job, None
            # Not for what may be a repeat: no work is lost on it, no poison is tried again.
            if hint is not None and not self._exam_service.knows(hint.sop_instance_uid):
                return None, hint.path

    def _follow(self, worker: _Worker, hint: str) -> bool:
        """Lets the worker begin with a view; False if it was lost over it."""
        try:
            worker.link.ask(Anticipate(path=hint))
        except LinkLostError as error:
            self._died_over = hint
            self._lost(worker, str(error))
            return False
        return True

    def _do(self, worker: _Worker, open_job: OpenJob) -> bool:
        """One job; False if the worker was lost over it."""
        job_id = open_job.job.job_id
        died_over, self._died_over = self._died_over, None
        if died_over is not None and died_over in (image.path for image in open_job.job.images):
            # The worker before this one was lost over the hint: that was this job's first.
            self._exam_service.worker_died_of(job_id, Reason.PROCESSING_FAILED)
        try:
            answer = worker.link.ask(JudgeJob(job=open_job.job))
        except LinkLostError as error:
            self._lost(worker, str(error))
            if not self._stopping:
                self._exam_service.worker_died_of(job_id, Reason.PROCESSING_FAILED)
            return False
        if isinstance(answer, Done) and _answers(answer.outcome, open_job.job):
            self._exam_service.record(answer.outcome)
            self._idle_deaths = 0
            self._state = WorkerState(
                ready=self._state.ready,
                starts=self._state.starts,
                pid=self._state.pid,
                memory_mb=answer.memory_mb,
            )
            self.latencies.add(answer.outcome.stage_ms)
            return True
        detail = answer.detail if isinstance(answer, Faulted) else "answered out of order"
        self._lost(worker, detail)
        self._exam_service.worker_died_of(job_id, Reason.ENGINE_FAULT)
        return False

    def _lost(self, worker: _Worker, detail: str) -> None:
        """Says that a worker was lost; the caller's loop makes the next one."""
        worker.end()
        if self._stopping:
            return
        code = worker.process.returncode
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        LOG.error("worker pid=%d lost (%s): %s", worker.process.pid, how, detail)
        self._events.publish(EventKind.WORKER_RESTARTED, f"{detail} ({how})")


def _answers(outcome: JobOutcome, job: Job) -> bool:
    """Whether the outcome is that of the job: one for each of its images, scores from 0 to 1.

    A comparison has no outcome of images, and nothing else has one of a comparison.
    """
    if job.is_comparison or outcome.comparison is not None:
        answered = job.is_comparison and outcome.comparison is not None and not outcome.images
        return outcome.job_id == job.job_id and answered
    images = sorted(image.image_id for image in outcome.images)
    scores = [i.outcome.score for i in outcome.images if isinstance(i.outcome, ViewResult)]
    return (
        outcome.job_id == job.job_id
        and images == sorted(image.image_id for image in job.images)
        and all(0.0 <= score <= 1.0 for score in scores)
    )


def _has_fileno() -> bool:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True
