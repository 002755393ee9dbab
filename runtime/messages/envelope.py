"""What all messages of the MQTT contract have in common: types of fields, envelope, who judged."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from models.errors import InternalError
from runtime.messages.topics import SiteName, UnitName
from runtime.messages.vocabulary import CODE_PATTERN

PAYLOAD_LIMIT_BYTES = 16 * 1024
CONTENT_TYPE = "application/json"

Key = Annotated[
    str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0f3c9d7a5b21e8864c0d9f1e2a3b4c5d"])
]
Score = Annotated[float, Field(ge=0.0, le=1.0, description="suspicion, 0-1", examples=[0.734])]
Code = Annotated[str, Field(pattern=CODE_PATTERN, examples=["disk_low"])]
ShortText = Annotated[str, Field(max_length=128)]
ViewSlug = Annotated[
    str,
    Field(
        pattern=r"^[rlx][a-z]{1,8}$",
        description="side and view in lower case, `x` where a part is unknown",
        examples=["rcc", "lmlo", "rx"],
    ),
]
UtcTime = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-11-22T15:04:05.678Z"],
    ),
]
LocalTime = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$",
        description="the unit's own clock, no zone",
        examples=["2026-11-22T16:03:58"],
    ),
]
Milliseconds = Annotated[float, Field(ge=0.0)]


class PayloadTooLargeError(InternalError, ValueError):
    """A message is above 16 KiB and cannot be shortened without losing what it says."""

    def __init__(self, schema_id: str, size_bytes: int) -> None:
        self.schema_id = schema_id
        self.size_bytes = size_bytes
        super().__init__(f"{schema_id}: {size_bytes} bytes, at most {PAYLOAD_LIMIT_BYTES}")


class Kind(StrEnum):
    """The kinds of numbered message: the rows of the outbox."""

    EXAM = "exam"
    VIEW = "view"
    EVENT = "event"
    DRIFT = "drift"


class Part(BaseModel):
    """Base of everything that is said: immutable, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )


class Message(Part):
    """What every payload carries."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset()
    """Fields that are not even named where the site has not switched them on."""

    schema_id: str = Field(alias="schema", description="type and version of this payload")
    site: SiteName
    unit: UnitName
    boot_id: ShortText = Field(description="changes with each start of the unit's service")
    at: UtcTime = Field(description="when it was decided; expiry counts from here")

    def encode(self) -> bytes:
        """UTF-8 JSON, at most 16 KiB.

        Raises:
            PayloadTooLargeError: it is larger.
        """
        silent = {name for name in self.omitted_when_none if getattr(self, name) is None}
        payload = self.model_dump_json(by_alias=True, exclude=silent).encode()
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            raise PayloadTooLargeError(self.schema_id, len(payload))
        return payload


class NumberedMessage(Message):
    """A row of the outbox. The ledger gives the number when it commits the row."""

    seq: int = Field(
        default=0,
        ge=0,
        description="numbers a unit's exam, view, event and drift messages without gap",
        json_schema_extra={"minimum": 1, "examples": [4711]},
    )

    def numbered(self, seq: int) -> Self:
        """The same message with its number (1 or more)."""
        if seq < 1:
            raise ValueError(f"numbers begin at 1, not {seq}")
        return self.model_copy(update={"seq": seq})

    def shortened(self) -> Self | None:
        """A message that is smaller and says so, or None where nothing may be left out."""
        return None


class StandingMessage(Message):
    """Said again and again, never numbered; names the last number instead."""

    last_seq: int = Field(ge=0, description="the last number given so far; 0 before the first")


class ModelPart(Part):
    """The model package."""

    name: ShortText = Field(examples=["reference"])
    version: ShortText = Field(examples=["0.1.0"])


class OperatingPointPart(Part):
    """The threshold that made a flag of a score."""

    name: ShortText = Field(examples=["screening"])
    threshold: Score


class JudgedBy(Part):
    """What produced a judgement; all null where nothing was judged."""

    model: ModelPart | None = None
    operating_point: OperatingPointPart | None = None
    precision: ShortText | None = Field(default=None, description="asked for", examples=["int8"])
    executed_precision: ShortText | None = Field(
        default=None, description="as the engine reports it", examples=["int8"]
    )
    requested_device: ShortText | None = Field(default=None, examples=["NPU"])
    actual_device: ShortText | None = Field(default=None, examples=["CPU"])
