"""The answers to a C-STORE request (PS3.4 table B.2-1, PS3.7 annex C)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset

from runtime.image.reasons import Reason


class StoreStatus(IntEnum):
    """Status (0000,0900) of a C-STORE response."""

    SUCCESS = 0x0000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    ELEMENTS_DISCARDED = 0xB006
    """A warning: no image, passed over; nothing of it is kept, and nobody needs to do anything."""
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


_STATUS_OF_REASON = {
    Reason.NOT_MAMMOGRAPHY: StoreStatus.SOP_CLASS_NOT_SUPPORTED,
    Reason.UNREADABLE: StoreStatus.CANNOT_UNDERSTAND,
}


@dataclass(frozen=True, kw_only=True)
class StoreRefusal:
    """Why an object is not taken. `comment` goes to the sender: no identity, at most 64 bytes."""

    status: StoreStatus
    comment: str

    @classmethod
    def of(cls, reason: Reason) -> StoreRefusal:
        """The refusal that a reason of the receiver becomes."""
        status = _STATUS_OF_REASON.get(reason, StoreStatus.CANNOT_UNDERSTAND)
        return cls(status=status, comment=reason.value)

    def response(self) -> Dataset:
        """Status and Error Comment as pynetdicom takes them from a handler."""
        dataset = Dataset()
        dataset.Status = int(self.status)
        # (0000,0902) is LO: 64 characters.
        dataset.ErrorComment = self.comment[:64]
        return dataset
