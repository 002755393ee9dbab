"""What is said on the frame socket, as frozen pydantic models.

The JSON Schema that firmware teams use (`mammoedge frame-schema`) is made from these types; it is
never written twice.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from runtime.exams.intake_ports import Receipt
from runtime.image.reasons import Reason

VERSION: Final = 1
MAX_MESSAGE_BYTES = 64 * 1024
BYTES_PER_PIXEL = 2


def _date_and_time(text: str) -> str:
    datetime.strptime(text[:14], "%Y%m%d%H%M%S")  # noqa: DTZ007 - DICOM gives local time
    return text


def _date(text: str) -> str:
    if text:
        datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - a day has no zone
    return text


# PS3.5 9.1: no component but 0 itself begins with 0. Objects that others made are read more kindly;
# these ones we make ourselves.
Uid = Annotated[
    str, Field(pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$", max_length=64, examples=["1.2.3"])
]
# PS3.5 6.2: LO holds 64 characters, neither backslash nor control characters.
Text = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f\x7f]*$", max_length=64)]
# PS3.5 6.2, PN: up to three groups with "=" between, each of up to five parts with "^" between.
_PART = r"[^\\^=\x00-\x1f\x7f]*"
_GROUP = rf"{_PART}(\^{_PART}){{0,4}}"
PersonName = Annotated[str, Field(pattern=rf"^{_GROUP}(={_GROUP}){{0,2}}$", max_length=64)]
# AccessionNumber is SH: 16 characters.
ShortText = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f\x7f]*$", max_length=16)]
# PS3.5 6.2: CS, as PS3.16 spells materials: MOLYBDENUM, RHODIUM, TUNGSTEN.
CodeWord = Annotated[str, Field(pattern=r"^[A-Z0-9_][A-Z0-9_ ]{0,15}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="a code, no sentence")]
DateAndTime = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{14}(\.[0-9]{1,6})?$",
        description="YYYYMMDDHHMMSS[.ffffff], the unit's own clock",
        examples=["20261122160358"],
    ),
    AfterValidator(_date_and_time),
]
SpacingMm = Annotated[float, Field(ge=0.001, le=2.0)]
Number = Annotated[int, Field(ge=0, le=2**32 - 1)]
Seq = Annotated[int, Field(ge=0, le=2**62)]


class Part(BaseModel):
    """Base of everything here: immutable, closed to unknown keys, no conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FirmwareMessage(Part):
    """What every message from the firmware carries. The answer repeats the `id`."""

    version: Literal[1]
    id: Number = Field(description="chosen by the firmware, for example counted up")


class Capability(StrEnum):
    """What a peer wants of the connection."""

    FRAMES = "frames"
    OUTCOMES = "outcomes"
    """Send `view_outcome`, `exam_flag` and `status`; they will be acknowledged."""


class Hello(FirmwareMessage):
    """The first message of every connection."""

    type: Literal["hello"]
    serial: Annotated[
        str,
        Field(pattern=r"^[!-\[\]-~]{1,64}$", description="of the unit; no spaces, no backslash"),
    ]
    manufacturer: Text = ""
    model: Text = ""
    software: Text = ""
    capabilities: Annotated[
        tuple[Annotated[Capability, Field(strict=False)], ...], Field(strict=False, max_length=8)
    ] = ()


class ExamOpened(FirmwareMessage):
    """An exam begins, or goes on after a reboot or a late view. Identity stays in the spool."""

    type: Literal["exam_opened"]
    study_instance_uid: Uid
    patient_id: Text = ""
    patient_name: PersonName = ""
    patient_birth_date: Annotated[str, Field(pattern=r"^([0-9]{8})?$"), AfterValidator(_date)] = ""
    patient_sex: Literal["", "F", "M", "O"] = ""
    accession_number: ShortText = ""
    expected_views: Annotated[
        tuple[Literal["RCC", "LCC", "RMLO", "LMLO"], ...], Field(strict=False, max_length=4)
    ] = Field(default=(), description="the only views that will be taken (mastectomy, one side)")


class Technique(Part):
    """How the exposure was made. Force in newton, thickness in millimetres."""

    kvp: Annotated[float, Field(gt=0, le=150)] | None = None
    mas: Annotated[float, Field(ge=0, le=2000)] | None = None
    target: CodeWord | None = None
    filter: CodeWord | None = None
    thickness_mm: Annotated[float, Field(ge=0, le=500)] | None = None
    force_n: Annotated[float, Field(ge=0, le=1000)] | None = None


class Laterality(StrEnum):
    """Which breast."""

    RIGHT = "R"
    LEFT = "L"


class View(StrEnum):
    """Radiographic view (PS3.16 CID 4014)."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    XCCL = "XCCL"


class Modifier(StrEnum):
    """View modifier (PS3.16 CID 4015)."""

    IMPLANT_DISPLACED = "implant_displaced"
    SPOT = "spot"
    MAGNIFICATION = "magnification"


SideWord = Annotated[Laterality, Field(strict=False)]
ViewWord = Annotated[View, Field(strict=False)]


class Exposure(FirmwareMessage):
    """X-rays were on, whatever became of the image."""

    type: Literal["exposure"]
    study_instance_uid: Uid
    laterality: SideWord
    view: ViewWord
    technique: Technique = Technique()
    detector_state: Slug | None = None
    detector_temperature_c: Annotated[float, Field(ge=-50, le=150)] | None = None


class Intent(StrEnum):
    """Presentation Intent Type (0008,0068)."""

    FOR_PRESENTATION = "for_presentation"
    FOR_PROCESSING = "for_processing"


class Window(Part):
    """VOI window of a For Presentation image (PS3.3 C.11.2)."""

    center: Annotated[float, Field(ge=-65536, le=65536)]
    width: Annotated[float, Field(ge=1, le=131072)]


class Frame(FirmwareMessage):
    """One image. Its pixels come beside the message, as a sealed memfd.

    `rows` x `columns` x uint16, little endian, the first row first, nothing before or behind.
    """

    type: Literal["frame"]
    study_instance_uid: Uid
    sop_instance_uid: Uid = Field(description="a later C-STORE of it is known as the same image")
    series_instance_uid: Uid | None = None
    instance_number: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    laterality: SideWord
    view: ViewWord
    modifiers: Annotated[
        tuple[Annotated[Modifier, Field(strict=False)], ...], Field(strict=False, max_length=3)
    ] = ()
    intent: Annotated[Intent, Field(strict=False)]
    rows: Annotated[int, Field(ge=1, le=65535)]
    columns: Annotated[int, Field(ge=1, le=65535)]
    bits_stored: Annotated[int, Field(ge=8, le=16)]
    monochrome1: bool = Field(default=False, description="the lowest value is white")
    window: Window | None = Field(
        default=None, description="needed for presentation, forbidden for processing"
    )
    pixel_spacing_mm: Annotated[tuple[SpacingMm, SpacingMm], Field(strict=False)] = Field(
        description="row and column spacing at the detector"
    )
    magnification_factor: Annotated[float, Field(ge=1, le=5)] | None = None
    acquired_at: DateAndTime
    implant: bool = False
    partial_view: bool = False
    quality_control: bool = False
    technique: Technique = Technique()

    @model_validator(mode="after")
    def _window_fits_intent(self) -> Self:
        # PS3.3 A.27.2: VOI LUT is required if FOR PRESENTATION, and forbidden otherwise.
        if (self.window is not None) != (self.intent is Intent.FOR_PRESENTATION):
            raise ValueError("window")
        return self

    @property
    def size_bytes(self) -> int:
        """What the memfd must hold, exactly."""
        return self.rows * self.columns * BYTES_PER_PIXEL


class Repeat(FirmwareMessage):
    """The technologist rejected an image and takes it again."""

    type: Literal["repeat"]
    study_instance_uid: Uid
    sop_instance_uid: Uid = Field(description="of the rejected image")
    reason: Slug = Field(examples=["motion"])
    retake_uid: Uid | None = Field(
        default=None, description="SOP Instance UID of the retake; else the next of the same view"
    )


class ExamClosed(FirmwareMessage):
    """No more images of this exam will come."""

    type: Literal["exam_closed"]
    study_instance_uid: Uid


class Fault(FirmwareMessage):
    """Something at the unit is broken. A code, because sentences could name people."""

    type: Literal["fault"]
    code: Slug = Field(examples=["generator_overheated"])
    severity: Literal["warning", "error"] = "error"


class Detector(FirmwareMessage):
    """State of the detector, whenever the firmware has something to say about it."""

    type: Literal["detector"]
    state: Slug | None = None
    temperature_c: Annotated[float, Field(ge=-50, le=150)]


class Heartbeat(FirmwareMessage):
    """I am here. Answered with the same."""

    type: Literal["heartbeat"]


class Acknowledged(FirmwareMessage):
    """Everything that we said up to `seq` is safe with the firmware. Not answered."""

    type: Literal["acknowledged"]
    seq: Seq


Said = (
    Hello
    | ExamOpened
    | Exposure
    | Frame
    | Repeat
    | ExamClosed
    | Fault
    | Detector
    | Heartbeat
    | Acknowledged
)
FIRMWARE_MESSAGES: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="type")])


class Refusal(StrEnum):
    """Why a message was refused, beside the reasons that an image itself may give."""

    MALFORMED = "malformed"
    """No CBOR of ours: see firmware_bridge.frame_protocol.cbor."""
    TOO_LARGE = "too_large"
    """More than 64 KiB, or a frame above the unit's limit."""
    VERSION = "version"
    UNKNOWN_TYPE = "unknown_type"
    INVALID = "invalid"
    """A field is missing, unknown or out of its range; `detail` names it."""
    OUT_OF_ORDER = "out_of_order"
    DESCRIPTORS = "descriptors"
    """A frame needs exactly one file descriptor, everything else none."""
    UNSEALED = "unsealed"
    SIZE_MISMATCH = "size_mismatch"
    BUSY = "busy"
    """Again after `retry_after_ms`."""
    NOT_ALLOWED = "not_allowed"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    SILENT = "silent"
    """Nothing came for three heartbeats: the connection ends."""
    FAILED = "failed"
    """A defect of ours; the service's log has it."""
    REPLACED = "replaced"
    """A newer connection of the same unit took over: this one ends."""


class Accepted(Part):
    """The message is safe: on the disk and in the ledger. Same `id`."""

    type: Literal["accepted"] = "accepted"
    version: Literal[1] = 1
    id: Number
    receipt: Receipt | None = Field(default=None, description="of a frame")
    heartbeat_ms: int | None = Field(default=None, description="of a hello: say something so often")
    max_in_flight: int | None = Field(
        default=None, description="of a hello: frames that may be unanswered"
    )
    max_frame_bytes: int | None = Field(default=None, description="of a hello")


class Refused(Part):
    """The message did nothing. Same `id`; null where none could be read. The connection goes on."""

    type: Literal["refused"] = "refused"
    version: Literal[1] = 1
    id: Number | None
    reason: Refusal | Reason
    detail: Annotated[str, Field(max_length=512)] = ""
    retry_after_ms: int | None = None


class BridgeHeartbeat(Part):
    """We are here."""

    type: Literal["heartbeat"] = "heartbeat"
    version: Literal[1] = 1
    id: Number


Answer = Accepted | Refused | BridgeHeartbeat
