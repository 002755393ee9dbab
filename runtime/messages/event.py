"""`event`: what can happen at a unit."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from runtime.messages.envelope import Key, NumberedMessage, ShortText
from runtime.messages.vocabulary import Open


class EventKind(StrEnum):
    """What can happen; later versions may know more."""

    EXPOSURE = "exposure"
    REPEAT = "repeat"
    FAULT = "fault"
    DETECTOR = "detector"
    SERVICE_STARTED = "service_started"
    MODEL_CHANGED = "model_changed"
    MODEL_REFUSED = "model_refused"
    DEVICE_FALLBACK = "device_fallback"
    IMAGE_REFUSED = "image_refused"
    IMAGE_CONFLICT = "image_conflict"
    HEADER_CHANGED = "header_changed"
    """An image came again with the same pixels under another header, or in another encoding."""
    INTEGRITY_FAILED = "integrity_failed"
    """A spooled file is not the one that was received: send the image again."""
    TOO_MANY_IMAGES = "too_many_images"
    IDENTITY_CONFLICT = "identity_conflict"
    """The images of an exam are of different patients, by their own word."""
    UNKNOWN_IMAGE_TYPE = "unknown_image_type"
    """Images with a term of Image Type that nobody knows: not assessed until it is released."""
    FRAME_REFUSED = "frame_refused"
    ASSOCIATION_REFUSED = "association_refused"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    EXPIRED = "expired"
    PARKED = "parked"
    WORKER_RESTARTED = "worker_restarted"
    DISK_LOW = "disk_low"
    DISK_RECOVERED = "disk_recovered"
    CLOCK_JUMPED = "clock_jumped"
    IMAGES_RECOVERED = "images_recovered"
    """Files in the spool that no row of the ledger knew were taken in again, or set aside."""
    LEDGER_ROLLED_BACK = "ledger_rolled_back"
    """The unit found an older ledger than it had left: numbers begin again under a new id."""
    LEDGER_REBUILT = "ledger_rebuilt"
    """A damaged ledger was set aside, and a new one made of what could be read."""
    NAME_TAKEN = "name_taken"
    """Another client connected to the broker under this unit's name."""


class EventMessage(NumberedMessage):
    """Something that happened at the unit."""

    schema_id: Literal["mammoedge.event/1"] = Field(default="mammoedge.event/1", alias="schema")
    event: Open[EventKind]
    detail: str = Field(default="", max_length=512, description="for people; never an identity")
    exam_key: Key | None = None
    image_key: Key | None = None
    data: dict[ShortText, Annotated[str, Field(max_length=256)] | int | float | bool] = Field(
        default_factory=dict, max_length=16, examples=[{"kvp": 28.0, "mas": 63.0}]
    )
