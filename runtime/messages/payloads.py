"""What is said on MQTT, as frozen pydantic models: the payloads of the MQTT contract.

The JSON Schema that other people's tools use is `model_json_schema(mode="serialization")` of these
types; it is never written twice. No field holds a name, a birth date, a patient ID or the place of
a finding. Each kind has a file of its own; whoever speaks or hears imports from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.messages.drift import (
    BaselineSource,
    DescriptorDriftPart,
    DescriptorPart,
    DriftMessage,
)
from runtime.messages.envelope import (
    CONTENT_TYPE,
    PAYLOAD_LIMIT_BYTES,
    Code,
    JudgedBy,
    Key,
    Kind,
    LocalTime,
    Message,
    Milliseconds,
    ModelPart,
    NumberedMessage,
    OperatingPointPart,
    Part,
    PayloadTooLargeError,
    Score,
    ShortText,
    StandingMessage,
    UtcTime,
    ViewSlug,
)
from runtime.messages.event import (
    EventKind,
    EventMessage,
)
from runtime.messages.exam import (
    ExamMessage,
    OutcomeWord,
    ViewEntry,
    ViewMessage,
)
from runtime.messages.status_and_health import (
    HealthFacts,
    HealthMessage,
    Latency,
    OutboxFacts,
    StatusFacts,
    StatusMessage,
    UnitState,
)
from runtime.messages.vocabulary import OtherCode

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = [
    "CONTENT_TYPE",
    "PAYLOAD_LIMIT_BYTES",
    "PAYLOAD_TYPES",
    "BaselineSource",
    "Code",
    "DescriptorDriftPart",
    "DescriptorPart",
    "DriftMessage",
    "EventKind",
    "EventMessage",
    "ExamMessage",
    "HealthFacts",
    "HealthMessage",
    "JudgedBy",
    "Key",
    "Kind",
    "Latency",
    "LocalTime",
    "Message",
    "Milliseconds",
    "ModelPart",
    "NumberedMessage",
    "OperatingPointPart",
    "OtherCode",
    "OutboxFacts",
    "OutcomeWord",
    "Part",
    "PayloadTooLargeError",
    "Score",
    "ShortText",
    "StandingMessage",
    "StatusFacts",
    "StatusMessage",
    "UnitState",
    "UtcTime",
    "ViewEntry",
    "ViewMessage",
    "ViewSlug",
    "payload_schema",
]

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
