"""Is a spooled file still the one that its sender was answered for?

Disks forget, and lie; a person may put another file in its place. A file is hashed while it is
judged, from the same pages of memory that the judgement reads.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.dicom.part10_reader import begin_data_set
from runtime.image.header import HeaderRefusedError
from runtime.image.outcome import (
    AnsweredBytes,
    ImageOutcome,
    JobOutcome,
    NotAssessed,
    ViewResult,
)
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from runtime.image.outcome import Job

ANOTHER_FILE = "the spooled file is gone, or not the one that was received"


def bytes_found(path: Path) -> AnsweredBytes | None:
    """What is in the spool; None where it is gone, or begins as no DICOM file does."""
    try:
        with path.open("rb") as stream:
            syntax = begin_data_set(stream).transfer_syntax_uid
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except (HeaderRefusedError, OSError):
        return None
    return AnsweredBytes(sha256=digest, transfer_syntax_uid=syntax)


class FileHasher:
    """Hashes on a thread of its own: decoding and inference go on meanwhile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def begin(self, path: str) -> Future[AnsweredBytes | None]:
        """Starts to hash; a result in any case."""
        return self._thread.submit(bytes_found, Path(path))


def checked(outcome: JobOutcome, job: Job, found: Sequence[AnsweredBytes | None]) -> JobOutcome:
    """The outcome, without what rests on another file than the one that was answered.

    Args:
        outcome: of the job.
        job: what was to be judged.
        found: what was in the spool, for each image of the job in its order.
    """
    lost = {
        image.image_id
        for image, there in zip(job.images, found, strict=True)
        if image.answered is not None and image.answered != there
    }
    if not lost:
        return outcome
    images = tuple(_without_foreign_bytes(image, lost) for image in outcome.images)
    return replace(outcome, images=images)


def _without_foreign_bytes(image: ImageOutcome, lost: set[int]) -> ImageOutcome:
    """Of images that are judged together all rest on each other's bytes."""
    if image.image_id in lost:
        reason, detail = Reason.INTEGRITY_FAILED, ANOTHER_FILE
    elif isinstance(image.outcome, ViewResult):
        reason, detail = Reason.COMPANION_NOT_ASSESSED, ""
    else:
        return image
    outcome = NotAssessed(
        reasons=(reason,),
        detail=detail,
        model=image.outcome.model,
        execution=image.outcome.execution,
    )
    return ImageOutcome(image_id=image.image_id, outcome=outcome)
