"""A worker that misbehaves on demand.

Run as `-m tests.runtime.worker.fake_worker MODE DESCRIPTOR PARENT`.
"""

from __future__ import annotations

import os
import socket
import sys

from runtime.image.outcome import ImageOutcome, JobOutcome
from runtime.worker.protocol import (
    FROM_WORKER,
    TO_WORKER,
    Anticipate,
    Anticipated,
    CannotStart,
    Done,
    LinkLostError,
    Ready,
    WorkerLink,
)
from tests.support.builders import EXECUTION, result

MODE = sys.argv[1]


def answer(job) -> Done:
    """What the mode makes of a job."""
    images = [ImageOutcome(image_id=i.image_id, outcome=result(0.1)) for i in job.images]
    if MODE == "forgets an image":
        images = []
    elif MODE == "another image":
        images = [ImageOutcome(image_id=4711, outcome=result(0.1))]
    elif MODE == "impossible score":
        images = [ImageOutcome(image_id=images[0].image_id, outcome=result(1.5))]
    return Done(outcome=JobOutcome(job_id=job.job_id, images=tuple(images)))


def main() -> None:
    """Serves until the other end is gone."""
    link = WorkerLink(socket=socket.socket(fileno=int(sys.argv[2])))
    link.receive()
    if MODE == "cannot start":
        link.send(FROM_WORKER.dump_json(CannotStart(faults=("no device",))))
        return
    link.send(FROM_WORKER.dump_json(Ready(execution=EXECUTION, versions={})))
    if MODE == "dies at rest":
        return
    while True:
        try:
            request = TO_WORKER.validate_json(link.receive())
        except LinkLostError:
            return
        if isinstance(request, Anticipate):
            if MODE == "dies of hints":
                os.abort()
            link.send(FROM_WORKER.dump_json(Anticipated()))
        elif MODE in ("dies of jobs", "dies of hints"):
            os.abort()
        elif MODE == "garbage":
            link.send(b"{]")
        else:
            link.send(FROM_WORKER.dump_json(answer(request.job)))


if __name__ == "__main__":
    main()
