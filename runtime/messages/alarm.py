"""What the site's own service says on `mammoedge/v1/{site}/_site/alarm`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from runtime.messages.payloads import (
    PAYLOAD_LIMIT_BYTES,
    Code,
    Part,
    PayloadTooLargeError,
    ShortText,
    UtcTime,
)
from runtime.messages.topics import SITE_SERVICE, SiteName, UnitName
from runtime.messages.vocabulary import Open


class AlarmState(StrEnum):
    """Whether it stands."""

    RAISED = "raised"
    CLEARED = "cleared"


class Severity(StrEnum):
    """How soon somebody should look."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlarmMessage(Part):
    """One alarm, raised or cleared: what was seen, since when, what to do."""

    schema_id: Literal["mammoedge.alarm/1"] = Field(default="mammoedge.alarm/1", alias="schema")
    site: SiteName
    unit: UnitName | None = Field(description="null: of the site as a whole")
    boot_id: ShortText = Field(description="changes with each start of the site's service")
    at: UtcTime
    alarm: Code = Field(description="which alarm", examples=["unit_silent"])
    state: Open[AlarmState]
    severity: Open[Severity]
    since: UtcTime = Field(description="when what it is about began")
    saw: str = Field(
        max_length=512,
        description="for people, in English; `alarm` and `data` say it in codes; no identity",
    )
    advice: str = Field(default="", max_length=512, description="what to do")
    data: dict[ShortText, Annotated[str, Field(max_length=256)] | int | float | bool] = Field(
        default_factory=dict, max_length=16, examples=[{"silent_s": 312.0}]
    )

    @property
    def key(self) -> str:
        """The last level of the topic on which it stands: KIND.UNIT.SUBJECT, as far as it has them.

        One level, of letters, digits and `._-`, whatever a subject holds.
        """
        parts = (self.alarm, self.unit or SITE_SERVICE, str(self.data.get("subject", "")))
        return re.sub(r"[^A-Za-z0-9._-]", "-", ".".join(part for part in parts if part))[:150]

    def encode(self) -> bytes:
        """UTF-8 JSON, at most 16 KiB.

        Raises:
            PayloadTooLargeError: it is larger.
        """
        payload = self.model_dump_json(by_alias=True).encode()
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            raise PayloadTooLargeError(self.schema_id, len(payload))
        return payload
