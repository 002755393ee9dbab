"""`exam` and `view`: the flag of an exam, the outcome of an image."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from runtime.exam_rules.exam_flag import Completion, Role
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason, Remark
from runtime.messages.envelope import (
    JudgedBy,
    Key,
    LocalTime,
    Milliseconds,
    NumberedMessage,
    Part,
    Score,
    ShortText,
    UtcTime,
    ViewSlug,
)
from runtime.messages.vocabulary import Open


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
    role: Open[Role]
    outcome: Open[OutcomeWord]
    reasons: tuple[Open[Reason], ...] = Field(default=(), max_length=32)
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
    completed_by: Open[Completion] | None
    flag: Flag
    score: Score | None
    reasons: tuple[Open[Reason], ...] = Field(max_length=64)
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
    role: Open[Role]
    acquired_at: LocalTime | None
    received_at: UtcTime
    superseded_by: Key | None = Field(default=None, description="image_key of the retake")
    outcome: Open[Literal[OutcomeWord.JUDGED, OutcomeWord.NOT_ASSESSED]]
    reasons: tuple[Open[Reason], ...] = Field(max_length=32)
    remarks: tuple[Open[Remark], ...] = Field(default=(), max_length=32)
    score: Score | None
    flag: Flag
    stage_ms: dict[ShortText, Milliseconds] = Field(
        max_length=32, examples=[{"decode": 51.2, "prepare": 11.0, "infer": 13.4, "total": 80.1}]
    )
