"""Sends DICOM files as an acquisition workstation does: C-STORE, one association, as they are."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, build_context, evt

from firmware_bridge.dicom_network.association_end import end_association
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.store_status import StoreStatus
from firmware_bridge.dicom_network.transfer_syntaxes import KEY_OBJECT_SELECTION
from firmware_bridge.dicom_network.upper_layer import P_DATA_TF, PDU_HEADER
from models.errors import PeerError
from runtime.dicom.other_objects import name_of_other, passed_over_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

KEY_OBJECTS = passed_over_name(KEY_OBJECT_SELECTION)
# PS3.8 9.3.2.2: odd numbers from 1 to 255.
MAX_CONTEXTS = 128
PDU_BYTES = 10_000
HALF_A_PDU = bytes(PDU_BYTES // 2)


class PeerUnreachableError(PeerError):
    """Nobody listens there, or the association was refused. Carries which of the two."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


@dataclass(frozen=True, kw_only=True)
class OutgoingFile:
    """A DICOM file and what has to be negotiated for it."""

    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str


class Outcome(StrEnum):
    """What became of a file."""

    STORED = "stored"
    REFUSED = "refused"
    """The receiver answered, with a status that says no."""
    FAILED = "failed"
    """No DICOM file, or no answer."""
    PASSED_OVER = "passed_over"
    """A DICOM file that holds no image; it was not sent."""


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """What became of a file, and when."""

    path: Path
    outcome: Outcome
    status: int | None = None
    """Of the C-STORE response."""
    comment: str = ""
    last_byte_at_ns: int = 0
    """Wall clock (time.time_ns) when the last byte of the data set was handed to the socket."""
    answered_after_ms: float = 0.0
    """From the start of the request to its response."""


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The files named, and those in the folders named, in order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        else:
            yield path


def outgoing(path: Path) -> OutgoingFile | SentFile:
    """What is to be negotiated for a file, or why it is not sent.

    A Key Object Selection is: it may say that images were rejected.
    """
    name = name_of_other(path)
    if name and name != KEY_OBJECTS:
        return SentFile(path=path, outcome=Outcome.PASSED_OVER, comment=name)
    try:
        meta = read_file_meta_info(path)
        return OutgoingFile(
            path=path,
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
    except OSError as fault:
        return SentFile(path=path, outcome=Outcome.FAILED, comment=fault.strerror or "unreadable")
    except (InvalidDicomError, AttributeError, ValueError, EOFError):
        return SentFile(path=path, outcome=Outcome.FAILED, comment="not a DICOM file")


class StorageScu:
    """One association, used as a context manager.

    Args:
        destination: who receives.
        files: everything that will be sent; their syntaxes are what is negotiated.
        calling_ae_title: our own.
        tls: to a destination that takes TLS alone.
    """

    def __init__(
        self,
        destination: Destination,
        files: Sequence[OutgoingFile],
        *,
        calling_ae_title: str = "MAMMOSEND",
        connect_timeout_s: float = 10.0,
        response_timeout_s: float = 120.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = (tls, destination.host) if tls is not None else None
        self._destination = destination
        self._contexts = sorted({(f.sop_class_uid, f.transfer_syntax_uid) for f in files})
        self._entity = AE(ae_title=calling_ae_title)
        self._entity.connection_timeout = connect_timeout_s
        self._entity.acse_timeout = connect_timeout_s
        self._entity.dimse_timeout = response_timeout_s
        self._entity.network_timeout = response_timeout_s
        self._association: Any = None
        self._connected = False
        self._last_byte_at_ns = 0
        self._breaks_off = False

    def __enter__(self) -> Self:
        """Asks for the association. Raises PeerUnreachableError."""
        # Files are read and sent in pieces, never decoded. A switch of pynetdicom for its whole
        # process: sending as they are is the only way that this project sends.
        _config.STORE_SEND_CHUNKED_DATASET = True
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self._association = self._entity.associate(
            self._destination.host,
            self._destination.port,
            contexts=[build_context(*pair) for pair in self._contexts[:MAX_CONTEXTS]],
            ae_title=self._destination.ae_title,
            tls_args=self._tls,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, pause_surely),
                (evt.EVT_CONN_OPEN, self._connection_opened),
                (evt.EVT_PDU_SENT, self._pdu_sent),
            ],
        )
        if not self._association.is_established:
            # pynetdicom's `is_rejected` misses a rejection that comes before it has looked.
            if self._connected:
                raise PeerUnreachableError("the association was refused")
            raise PeerUnreachableError("nobody answers there")
        # The last, short segment of an image must not wait for an acknowledgement (RFC 896).
        connection = self._association.dul.socket.socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Releases the association, or aborts it after a fault."""
        if kind is None:
            end_association(self._association)
        else:
            self._association.abort()

    def send(self, file: OutgoingFile, *, message_id: int = 1) -> SentFile:
        """Sends one file and waits for its answer."""
        started_s = time.perf_counter()
        if not self._association.is_established:
            return SentFile(path=file.path, outcome=Outcome.FAILED, comment="association lost")
        try:
            response = self._association.send_c_store(file.path, msg_id=message_id)
        except ValueError:
            # pynetdicom's way to say that no accepted context fits.
            return SentFile(
                path=file.path,
                outcome=Outcome.REFUSED,
                comment="SOP class or transfer syntax not accepted",
            )
        status = response.get("Status")
        if status is None:
            return SentFile(path=file.path, outcome=Outcome.FAILED, comment="no answer")
        # PS3.4 table B.2-1: warnings (Bxxx) are stored as well.
        stored = status == StoreStatus.SUCCESS or status & 0xF000 == 0xB000
        return SentFile(
            path=file.path,
            outcome=Outcome.STORED if stored else Outcome.REFUSED,
            status=int(status),
            comment=str(response.get("ErrorComment", "")),
            last_byte_at_ns=self._last_byte_at_ns,
            answered_after_ms=(time.perf_counter() - started_s) * 1e3,
        )

    def break_off(self, file: OutgoingFile) -> None:
        """Hangs up without a word inside the object, as a unit does that loses its power."""
        self._breaks_off = True
        self.send(file)

    def _connection_opened(self, event: Any) -> None:
        del event
        self._connected = True

    def _pdu_sent(self, event: Any) -> None:
        """The last of these before a response is the last one of the data set."""
        del event
        self._last_byte_at_ns = time.time_ns()
        if self._breaks_off:
            # The command has gone. What follows is the beginning of its data set.
            self._association.dul.socket.send(PDU_HEADER.pack(P_DATA_TF, PDU_BYTES) + HALF_A_PDU)
            self._association.dul.socket._shutdown_socket()  # noqa: SLF001 - the only rude way
