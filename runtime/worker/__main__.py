"""The pixel worker: a child process that decodes and infers.

A malformed codestream, a driver crash or a hang takes this process down and nothing else. It is
started by the supervisor with one end of a socket pair, and ends when the other end does.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import PackageRefusedError
from models.package import load_package
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError
from runtime.inference.engine import open_engine
from runtime.system.process_memory import peak_resident_mb
from runtime.worker.file_check import FileHasher, checked
from runtime.worker.pipeline import Pipeline
from runtime.worker.protocol import (
    FROM_WORKER,
    TO_WORKER,
    Anticipate,
    Anticipated,
    CannotStart,
    Done,
    Faulted,
    JudgeJob,
    LinkLostError,
    Ready,
    Start,
    WorkerLink,
    file_stamp,
)

if TYPE_CHECKING:
    from runtime.image.outcome import ImageOutcome, Job, JobOutcome
    from runtime.worker.protocol import FileStamp, FromWorkerMessage

LOG = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """The kernel kills us when the control process is gone, even while a decoder hangs.

    And it kills us before the control process when memory runs out: images can be hostile.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the control process is gone")
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def open_pipeline(start: Start) -> Pipeline:
    """Loads the package and opens its engine.

    Raises:
        PackageRefusedError: a hash, the schema, the signature or a golden case does not hold.
        NoUsableDeviceError: with a line for each device.
    """
    package = load_package(
        start.package,
        trusted_keys=tuple(bytes.fromhex(key) for key in start.trusted_keys),
        allow_unsigned=start.allow_unsigned,
    )
    if package.sha256 != start.model.package_sha256:
        raise PackageRefusedError(package.manifest.label, ["it changed since the service started"])
    engine = open_engine(
        package,
        start.model.precision,
        start.devices,
        start.cache_folder,
        threads=start.threads,
    )
    return Pipeline(
        manifest=package.manifest.accepting(start.accept_image_types),
        model=start.model,
        engine=engine,
        max_pixels=int(start.max_megapixels * 1_000_000),
        evidence_maps=start.evidence_maps,
        previews=start.previews,
    )


@dataclass(frozen=True, kw_only=True)
class _Anticipated:
    """A view that was judged before its job came."""

    path: str
    stamp: FileStamp
    outcome: ImageOutcome
    stage_ms: dict[str, float]

    def holds_for(self, job: Job) -> bool:
        """Nobody has written to the job's file since before the control process hashed it."""
        paths = [image.path for image in job.images]
        return paths == [self.path] and self.stamp == file_stamp(self.path) != ()


class Worker:
    """Answers the supervisor's requests, one at a time."""

    def __init__(self, link: WorkerLink, pipeline: Pipeline, package_sha256: str) -> None:
        self._link = link
        self._package_sha256 = package_sha256
        self._pipeline = pipeline
        self._hasher = FileHasher()
        self._anticipated: _Anticipated | None = None

    def serve(self) -> int:
        """Until the supervisor is gone (0) or the engine failed (1)."""
        while True:
            try:
                request = TO_WORKER.validate_json(self._link.receive())
            except LinkLostError:
                return 0
            answer = self._answer(request)
            self._link.send(FROM_WORKER.dump_json(answer))
            if isinstance(answer, Faulted):
                return 1
            # Decoded images are large and die young: what cycles hold of them goes between jobs.
            gc.collect(0)

    def _answer(self, request: Start | Anticipate | JudgeJob) -> FromWorkerMessage:
        if isinstance(request, JudgeJob):
            try:
                outcome = self._judge(request.job)
            except EngineFaultError as error:
                return Faulted(job_id=request.job.job_id, detail=str(error))
            return Done(outcome=outcome, memory_mb=peak_resident_mb())
        if isinstance(request, Anticipate):
            self._anticipate(request)
        return Anticipated()

    def _anticipate(self, hint: Anticipate) -> None:
        self._anticipated = None
        if not self._pipeline.judges_single_views:
            return
        try:
            outcome, stage_ms = self._pipeline.judge_view(0, Path(hint.path))
        except EngineFaultError as error:
            LOG.warning("anticipated view: %s", error)  # the job itself will say so
            return
        self._anticipated = _Anticipated(
            path=hint.path, stamp=hint.stamp, outcome=outcome, stage_ms=stage_ms
        )

    def _judge(self, job: Job) -> JobOutcome:
        if job.package_sha256 != self._package_sha256:
            raise EngineFaultError("the job is for another package than the one that is open")
        begun, self._anticipated = self._anticipated, None
        if begun is not None and begun.holds_for(job):
            return self._pipeline.as_job_outcome(job, begun.outcome, begun.stage_ms)
        if job.is_comparison:
            return self._pipeline.judge_job(job)  # it looks at the bytes itself
        found = [self._hasher.begin(image.path) for image in job.images]
        outcome = self._pipeline.judge_job(job)
        return checked(outcome, job, [one.result() for one in found])


def main(descriptor: int, parent_pid: int) -> int:
    """Serves the supervisor, process `parent_pid`, at the other end of the socket `descriptor`."""
    die_with_parent(parent_pid)
    # The control process decides when we stop: Ctrl-C at a terminal goes to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # pydicom's warnings quote values of the data set: a name must not reach a log.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s worker %(name)s: %(message)s"
    )
    link = WorkerLink(socket=socket.socket(fileno=descriptor), peer="control")
    try:
        start = TO_WORKER.validate_json(link.receive())
        if not isinstance(start, Start):
            return 2
        pipeline = open_pipeline(start)
    except PackageRefusedError as error:
        link.send(FROM_WORKER.dump_json(CannotStart(faults=error.faults)))
        return 1
    except NoUsableDeviceError as error:
        link.send(FROM_WORKER.dump_json(CannotStart(faults=(str(error),))))
        return 1
    versions = {name: version(name) for name in ("openvino", "imagecodecs")}
    ready = Ready(execution=pipeline.execution, versions=versions)
    link.send(FROM_WORKER.dump_json(ready))
    return Worker(link, pipeline, start.model.package_sha256).serve()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
