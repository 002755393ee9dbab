"""How much one peer, and all of them together, may ask of the DICOM intake."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import PeerError

MEBIBYTE = 1 << 20
MAX_MESSAGE_BYTES = MEBIBYTE
"""Of a command set, and of any data set that is not an object to be stored: these are held in
memory, and the largest real ones are a few kilobytes."""
MAX_NEGOTIATION_BYTES = MEBIBYTE
"""Of an A-ASSOCIATE, A-RELEASE or A-ABORT PDU. 128 presentation contexts with every transfer
syntax are 100 KiB."""


@dataclass(frozen=True, kw_only=True)
class AssociationLimits:
    """Limits of one association. Breaking one aborts the association and removes its file."""

    max_pdu_bytes: int
    """Announced in the negotiation (PS3.8 D.1) and enforced."""
    max_object_bytes: int
    """Of one data set."""
    object_timeout_s: float
    """From the first to the last byte of one data set."""
    pdu_timeout_s: float
    """From the first to the last byte of one PDU, and between two PDUs of one data set."""


class LimitExceededError(PeerError):
    """A peer broke a limit or the protocol. `what` is a word for logs, never data of the peer."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)
