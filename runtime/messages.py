"""What is said on MQTT: contract 2, as frozen pydantic models.

The JSON Schema that other people's tools use is `model_json_schema(mode="serialization")` of these
types; it is never written twice. No field holds a name, a birth date, a patient ID or the place of
a finding.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.descriptor_reference import MOST_BINS, Descriptor
from runtime.exam_flag import Completion, Role
from runtime.outcome import Flag
from runtime.reasons import Reason, Remark
from runtime.topics import SiteName, UnitName

PAYLOAD_LIMIT_BYTES = 16 * 1024
CONTENT_TYPE = "application/json"

Key = Annotated[
    str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0f3c9d7a5b21e8864c0d9f1e2a3b4c5d"])
]
Score = Annotated[float, Field(ge=0.0, le=1.0, description="suspicion, 0-1", examples=[0.734])]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["disk_low"])]
Word = Annotated[str, Field(max_length=128)]
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


class PayloadTooLargeError(ValueError):
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
    boot_id: Word = Field(description="changes with each start of the unit's service")
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


# --- who judged -------------------------------------------------------------------------------


class ModelPart(Part):
    """The model package."""

    name: Word = Field(examples=["reference"])
    version: Word = Field(examples=["0.1.0"])


class OperatingPointPart(Part):
    """The threshold that made a flag of a score."""

    name: Word = Field(examples=["screening"])
    threshold: Score


class JudgedBy(Part):
    """What produced a judgement; all null where nothing was judged."""

    model: ModelPart | None = None
    operating_point: OperatingPointPart | None = None
    precision: Word | None = Field(default=None, description="asked for", examples=["int8"])
    executed_precision: Word | None = Field(
        default=None, description="as the engine reports it", examples=["int8"]
    )
    requested_device: Word | None = Field(default=None, examples=["NPU"])
    actual_device: Word | None = Field(default=None, examples=["CPU"])


# --- numbered messages ------------------------------------------------------------------------


class OutcomeWord(StrEnum):
    """What became of an image."""

    JUDGED = "judged"
    NOT_ASSESSED = "not_assessed"
    WAITING = "waiting"
    """In an exam's list only: received, not looked at yet."""


class ViewEntry(Part):
    """One image in the list of an exam."""

    image_key: Key
    view: ViewSlug
    role: Role
    outcome: OutcomeWord
    reasons: tuple[Reason, ...] = Field(default=(), max_length=32)
    score: Score | None = None
    flag: Flag | None = None
    superseded_by: Key | None = Field(default=None, description="image_key of the retake")


class ExamMessage(JudgedBy, NumberedMessage):
    """The flag of an exam; a later `revision` replaces an earlier one."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset(
        {"accession_number", "study_instance_uid"}
    )
    schema_id: Literal["mammoedge.exam/1"] = Field(default="mammoedge.exam/1", alias="schema")
    exam_key: Key
    revision: int = Field(ge=1)
    final: bool = Field(description="true: no further revision is expected")
    completed_by: Completion | None
    flag: Flag
    score: Score | None
    reasons: tuple[Reason, ...] = Field(max_length=64)
    missing_views: tuple[ViewSlug, ...] = Field(max_length=16)
    views: tuple[ViewEntry, ...] = Field(description="expected views first")
    views_omitted: int = Field(
        default=0,
        ge=0,
        description="images left out of `views`: the message fits 16 KiB; beyond the limit",
    )
    accession_number: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="only where the site has switched it on"
    )
    study_instance_uid: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="only where the site has switched it on"
    )

    def shortened(self) -> Self | None:
        """Without the last tenth of the list; the count says how many are missing."""
        if not self.views:
            return None
        keep = len(self.views) - max(1, len(self.views) // 10)
        omitted = self.views_omitted + len(self.views) - keep
        return self.model_copy(update={"views": self.views[:keep], "views_omitted": omitted})


class ViewMessage(JudgedBy, NumberedMessage):
    """The outcome of one image, as soon as there is one."""

    schema_id: Literal["mammoedge.view/1"] = Field(default="mammoedge.view/1", alias="schema")
    exam_key: Key
    image_key: Key
    view: ViewSlug
    laterality: Literal["R", "L"] | None
    role: Role
    acquired_at: LocalTime | None
    received_at: UtcTime
    superseded_by: Key | None = Field(default=None, description="image_key of the retake")
    outcome: Literal[OutcomeWord.JUDGED, OutcomeWord.NOT_ASSESSED]
    reasons: tuple[Reason, ...] = Field(max_length=32)
    remarks: tuple[Remark, ...] = Field(default=(), max_length=32)
    score: Score | None
    flag: Flag
    stage_ms: dict[Word, Milliseconds] = Field(
        max_length=32, examples=[{"decode": 51.2, "prepare": 11.0, "infer": 13.4, "total": 80.1}]
    )


class EventKind(StrEnum):
    """What can happen; the list is closed."""

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
    TOO_MANY_IMAGES = "too_many_images"
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
    NAME_TAKEN = "name_taken"
    """Another client connected to the broker under this unit's name."""


class EventMessage(NumberedMessage):
    """Something that happened at the unit."""

    schema_id: Literal["mammoedge.event/1"] = Field(default="mammoedge.event/1", alias="schema")
    event: EventKind
    detail: str = Field(default="", max_length=512, description="for people; never an identity")
    exam_key: Key | None = None
    image_key: Key | None = None
    data: dict[Word, Annotated[str, Field(max_length=256)] | int | float | bool] = Field(
        default_factory=dict, max_length=16, examples=[{"kvp": 28.0, "mas": 63.0}]
    )


class BaselineSource(StrEnum):
    """What a day's image descriptors are compared with."""

    PACKAGE = "package"
    """The package's `reference.json`."""
    UNIT = "unit"
    """The unit's own first images."""


class DescriptorPart(Part):
    """A day's counts of one descriptor over the bins of the baseline."""

    edges: tuple[float, ...] | None = Field(
        max_length=MOST_BINS, description="of a number; one count more than edges"
    )
    labels: tuple[Annotated[str, Field(max_length=32)], ...] | None = Field(
        max_length=MOST_BINS + 1, description="of a word; those that are new have none expected"
    )
    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(max_length=MOST_BINS + 1)
    expected: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        max_length=MOST_BINS + 1, description="the baseline's counts, not scaled to the day"
    )
    psi: float | None = Field(description="population stability index; null: too few images")


class DescriptorDriftPart(Part):
    """What the day's images looked like: tells a changed scanner from a changed population."""

    baseline: BaselineSource
    baseline_images: int = Field(ge=0)
    baseline_needed: int = Field(
        ge=0, description="until the unit has that many of its own, `by_name` is empty"
    )
    baseline_since: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = Field(
        default=None, description="the day that the unit's settings begin the baseline with"
    )
    images: int = Field(ge=0, description="of the day, in which a breast was found")
    by_name: dict[Descriptor, DescriptorPart]


class DriftMessage(NumberedMessage):
    """A day's scores and images against the model's `reference.json`."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset({"descriptors"})
    schema_id: Literal["mammoedge.drift/1"] = Field(default="mammoedge.drift/1", alias="schema")
    model: ModelPart
    day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-22"])]
    images: int = Field(ge=0)
    exams: int = Field(ge=0)
    histogram: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        max_length=256, description="judged images by score, equal bins from 0 to 1"
    )
    psi: float | None = Field(description="population stability index; null: too few images")
    priority_rate: Score | None = Field(description="of exams")
    not_assessed_rate: dict[Reason, Score] = Field(description="of images, by reason")
    descriptors: DescriptorDriftPart | None = Field(
        default=None, description="absent where the unit described no image"
    )


# --- standing messages ------------------------------------------------------------------------


class UnitState(StrEnum):
    """Whether the unit can be relied on."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


class StatusFacts(JudgedBy):
    """What the service knows about itself; the publisher makes `status` of it."""

    reasons: tuple[Code, ...] = Field(default=(), max_length=32, description="why degraded")
    versions: dict[Word, Word] = Field(
        default_factory=dict, max_length=32, examples=[{"mammoedge": "0.1.0", "openvino": "2026.4"}]
    )
    unsigned_package: bool = Field(default=False, description="the active package is not signed")
    fallback_reason: str = Field(default="", max_length=512)
    intakes: tuple[Annotated[str, Field(max_length=256)], ...] = Field(
        default=(), max_length=16, description="where images come in"
    )


class StatusMessage(StatusFacts, StandingMessage):
    """Birth, change of state, clean stop, and the will."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset({"ledger_id"})
    schema_id: Literal["mammoedge.status/1"] = Field(default="mammoedge.status/1", alias="schema")
    state: UnitState
    ledger_id: Word | None = Field(
        default=None,
        description="one ledger's life; `seq` counts within it, and another one begins again at 1",
        examples=["5f1d3c0a9b7e2468"],
    )


class Latency(Part):
    """A stage's recent latency in milliseconds."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    count: int = Field(ge=0)


class HealthFacts(Part):
    """Figures of the running service."""

    stages: dict[Word, Latency] = Field(default_factory=dict, max_length=32)
    queue_depth: int = Field(default=0, ge=0, description="images that wait for the worker")
    memory_mb: dict[Word, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, max_length=8, examples=[{"control": 92.5, "worker": 611.0}]
    )
    temperature_c: float | None = None
    disk_free_mb: float | None = Field(default=None, ge=0)
    worker_restarts: int = Field(default=0, ge=0)
    uptime_s: float = Field(default=0.0, ge=0)


class OutboxFacts(Part):
    """The outbox, as the publisher sees it."""

    waiting: int = Field(ge=0)
    oldest_s: float | None = Field(ge=0, description="age of the oldest row that waits")
    parked: int = Field(ge=0)
    commands_refused: int = Field(ge=0, description="since the service started")


class HealthMessage(HealthFacts, StandingMessage):
    """Every 30 s."""

    schema_id: Literal["mammoedge.health/1"] = Field(default="mammoedge.health/1", alias="schema")
    outbox: OutboxFacts


PAYLOAD_TYPES: tuple[type[Message], ...] = (
    StatusMessage,
    ExamMessage,
    ViewMessage,
    EventMessage,
    DriftMessage,
    HealthMessage,
)


def payload_schema(kind: type[Message]) -> dict[str, JsonValue]:
    """JSON Schema (2020-12) of a payload as it stands on the wire."""
    schema: dict[str, Any] = kind.model_json_schema(mode="serialization", by_alias=True)
    # What a site may leave switched off is not in every payload.
    schema["required"] = [n for n in schema["required"] if n not in kind.omitted_when_none]
    return schema
