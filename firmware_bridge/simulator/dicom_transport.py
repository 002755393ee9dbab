"""A simulated unit that speaks DICOM: C-STORE, procedure steps, rejection notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.sender.mpps_scu import MppsScu, write_rejection_note
from firmware_bridge.sender.storage_scu import Outcome, SentFile, StorageScu, outgoing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from firmware_bridge.dicom_network.destination import Destination
    from firmware_bridge.sender.storage_scu import OutgoingFile
    from firmware_bridge.simulated_exams.exam_source import Taken
    from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
    from firmware_bridge.simulated_exams.unit_plan import Mishap


class DicomTransport:
    """Implements `UnitLine`; each image travels in an association of its own.

    Args:
        name: the calling AE title.
        destination: who receives.
        folder: for rejection notes on their way.
        procedure_steps: whether exams begin and end by MPPS, or just stop.
        tls: to a destination that takes TLS alone.
        new_uid: makes a new UID at each call.
    """

    def __init__(
        self,
        name: str,
        *,
        destination: Destination,
        folder: Path,
        procedure_steps: bool,
        tls: ssl.SSLContext | None,
        new_uid: Callable[[], str],
    ) -> None:
        self._name = name
        self._destination = destination
        self._folder = folder
        self._procedure_steps = procedure_steps
        self._tls = tls
        self._new_uid = new_uid
        self._steps = MppsScu(destination, calling_ae_title=name, tls=tls)
        self._exam: ReissuedIdentity | None = None
        self._step_uid = ""

    def begin(self, exam: ReissuedIdentity) -> bool:
        """N-CREATE of a procedure step."""
        if exam != self._exam:
            self._exam, self._step_uid = exam, self._new_uid()
        return not self._procedure_steps or self._steps.begin(self._step_uid, exam) == 0

    def send(self, taken: Taken) -> Outcome:
        """C-STORE."""
        return self._store(taken.path)

    def break_off(self, taken: Taken, mishap: Mishap) -> None:
        """Hangs up without a word in the middle of the object, whatever the mishap."""
        del mishap
        file = _file(taken.path)
        with self._sender(file) as sender:
            sender.break_off(file)

    def reject(self, taken: Taken) -> Outcome:
        """C-STORE of a rejection note."""
        path = self._folder / f"{self._name}-note.dcm"
        write_rejection_note(taken, self._open_exam, path=path, new_uid=self._new_uid)
        return self._store(path)

    def end(self, images: Sequence[Taken]) -> bool:
        """N-SET COMPLETED."""
        if not self._procedure_steps:
            return True
        return self._steps.end(self._step_uid, self._open_exam, images) == 0

    def finish(self, timeout_s: float) -> int:
        """Nothing comes back by DICOM."""
        del timeout_s
        return 0

    def close(self) -> None:
        """Nothing is open between images."""

    @property
    def _open_exam(self) -> ReissuedIdentity:
        if self._exam is None:
            raise RuntimeError("no exam has begun")
        return self._exam

    def _store(self, path: Path) -> Outcome:
        file = _file(path)
        with self._sender(file) as sender:
            sent = sender.send(file)
        # PS3.4 table B.2-1: A7xx, out of resources: a unit tries again later.
        busy = sent.status is not None and sent.status & 0xFF00 == 0xA700
        return Outcome.FAILED if busy else sent.outcome

    def _sender(self, file: OutgoingFile) -> StorageScu:
        return StorageScu(self._destination, [file], calling_ae_title=self._name, tls=self._tls)


def _file(path: Path) -> OutgoingFile:
    file = outgoing(path)
    if isinstance(file, SentFile):
        raise OSError(f"{path.name}: {file.comment}")
    return file
