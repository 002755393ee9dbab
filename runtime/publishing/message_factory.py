"""How a unit says things: results in, topics and payloads out. Pure; time is handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from runtime.exam_rules.exam_flag import Role
from runtime.image.outcome import Flag, NotAssessed, ViewResult
from runtime.messages.payloads import (
    DescriptorDriftPart,
    DriftMessage,
    EventKind,
    EventMessage,
    ExamMessage,
    HealthFacts,
    HealthMessage,
    Key,
    Kind,
    ModelPart,
    OperatingPointPart,
    OutboxFacts,
    OutcomeWord,
    StatusFacts,
    StatusMessage,
    UnitState,
    UtcTime,
    ViewEntry,
    ViewMessage,
)
from runtime.messages.topics import Topics, view_slug
from runtime.publishing.pseudonyms import Pseudonyms
from runtime.publishing.publication import Announcement, Publication
from runtime.timing.timestamps import local_text, utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.dicom.patient_identity import PatientFacts
    from runtime.exam_rules.exam_flag import ExamFlag, ExamImage
    from runtime.exam_rules.one_patient import PatientKeys
    from runtime.image.outcome import Execution, ModelRef, ViewOutcome
    from runtime.image.reasons import Reason

DAY_S = 24 * 60 * 60
FOREVER_S = 0xFFFF_FFFF
"""The largest message expiry interval there is (MQTT 5, 3.3.2.3.3): 136 years."""
DETAIL_LIMIT = 512
DATA_TEXT_LIMIT = 256
ROLE_ORDER = (Role.EXPECTED, Role.SUPERSEDED, Role.ADDITIONAL)


@dataclass(frozen=True, kw_only=True)
class IdentityPolicy:
    """What the site lets out beside the pseudonyms."""

    accession_number: bool = False
    study_instance_uid: bool = False


class _RowGist(BaseModel):
    """Of a row's payload, what an event about it repeats."""

    at: UtcTime | None = None
    exam_key: Key | None = None
    image_key: Key | None = None


@dataclass(frozen=True, kw_only=True)
class MessageFactory:
    """One unit's way of saying things.

    `site_key`: at least 16 bytes. All `at_ms` are milliseconds since the epoch, UTC.
    """

    site: str
    unit: str
    boot_id: str
    site_key: bytes = field(repr=False)
    ledger_id: str | None = None
    identity: IdentityPolicy = IdentityPolicy()
    exam_expiry_s: int = DAY_S
    event_expiry_s: int = 7 * DAY_S

    @property
    def topics(self) -> Topics:
        """The unit's topics."""
        return Topics(site=self.site, unit=self.unit)

    def exam_key(self, study_instance_uid: str) -> str:
        """The exam's pseudonym."""
        return Pseudonyms(site_key=self.site_key).exam_key(study_instance_uid)

    def image_key(self, sop_instance_uid: str) -> str:
        """The image's pseudonym."""
        return Pseudonyms(site_key=self.site_key).image_key(sop_instance_uid)

    def patient_keys(self, facts: PatientFacts) -> PatientKeys:
        """What the unit compares of a patient; no message has it."""
        return Pseudonyms(site_key=self.site_key).patient_keys(facts)

    # --- numbered -----------------------------------------------------------------------------

    def exam_message(
        self, flag: ExamFlag, *, at_ms: int, accession_number: str = ""
    ) -> Publication:
        """A revision of an exam's flag."""
        exam_key = self.exam_key(flag.study_instance_uid)
        images = sorted(flag.images, key=lambda image: ROLE_ORDER.index(image.role))
        with_uid = self.identity.study_instance_uid
        with_accession = self.identity.accession_number and accession_number
        message = ExamMessage(
            **self._envelope(at_ms),
            **_judged_by(flag.model, flag.execution),
            exam_key=exam_key,
            revision=flag.revision,
            final=flag.final,
            completed_by=flag.completed_by,
            flag=flag.flag,
            score=flag.score,
            reasons=flag.reasons,
            missing_views=tuple(view_slug(view) for view in flag.missing_views),
            views=tuple(self._entry(image, flag.images) for image in images),
            views_omitted=flag.images_surplus,
            study_instance_uid=flag.study_instance_uid if with_uid else None,
            accession_number=accession_number if with_accession else None,
        )
        return Publication(
            kind=Kind.EXAM,
            topic=self.topics.exam(exam_key),
            message=message,
            retained=True,
            expiry_s=self.exam_expiry_s,
            content_key=exam_key,
        )

    def view_message(
        self,
        image: ExamImage,
        *,
        study_instance_uid: str,
        at_ms: int,
        stage_ms: Mapping[str, float],
        among: Sequence[ExamImage] = (),
    ) -> Publication:
        """The outcome of one image. `among`: the exam's images, to name a retake by its key.

        Raises:
            ValueError: the image has no outcome yet.
        """
        outcome = image.outcome
        if outcome is None:
            raise ValueError(f"image {image.image_id} has no outcome yet")
        exam_key = self.exam_key(study_instance_uid)
        entry = self._entry(image, among)
        side = image.view_code[:1]
        message = ViewMessage(
            **self._envelope(at_ms),
            **_judged_by(outcome.model, outcome.execution),
            exam_key=exam_key,
            image_key=entry.image_key,
            view=entry.view,
            laterality=side if side in ("R", "L") else None,
            role=image.role,
            acquired_at=local_text(image.acquired_at),
            received_at=utc_text(image.received_at_ms),
            superseded_by=entry.superseded_by,
            outcome=entry.outcome,
            reasons=entry.reasons,
            remarks=outcome.remarks,
            score=entry.score,
            flag=_flag(outcome),
            stage_ms={stage: round(ms, 3) for stage, ms in stage_ms.items()},
        )
        return Publication(
            kind=Kind.VIEW,
            topic=self.topics.view(exam_key, entry.view),
            message=message,
            retained=False,
            expiry_s=self.exam_expiry_s,
        )

    def event_message(
        self,
        event: EventKind,
        *,
        at_ms: int,
        detail: str = "",
        exam: str | None = None,
        image: str | None = None,
        data: Mapping[str, str | float | bool] | None = None,
    ) -> Publication:
        """Something that happened, `exam`, `image`: Study and SOP Instance UID, or None.

        `detail` and the texts of `data` are cut to what the schema allows; they must not hold an
        identity.
        """
        return self._event(
            event,
            at_ms=at_ms,
            detail=detail,
            exam_key=self.exam_key(exam) if exam else None,
            image_key=self.image_key(image) if image else None,
            data=data or {},
        )

    def about_row(
        self,
        event: EventKind,
        *,
        at_ms: int,
        kind: str,
        payload: bytes,
        seq: int | None = None,
        reason_code: int | None = None,
    ) -> Publication:
        """An event about a row of the outbox (`payload`, as we wrote it): expired, or parked."""
        try:
            said = _RowGist.model_validate_json(payload)
        except ValidationError:
            said = _RowGist()  # an older version of us wrote it: the event is owed all the same
        data: dict[str, str | float | bool] = {"kind": kind}
        if said.at is not None:
            data["row_at"] = said.at
        if seq is not None:
            data["row_seq"] = seq
        if reason_code is not None:
            data["reason_code"] = reason_code
        return self._event(
            event,
            at_ms=at_ms,
            detail="",
            exam_key=said.exam_key,
            image_key=said.image_key,
            data=data,
        )

    def _event(
        self,
        event: EventKind,
        *,
        at_ms: int,
        detail: str,
        exam_key: str | None,
        image_key: str | None,
        data: Mapping[str, str | float | bool],
    ) -> Publication:
        message = EventMessage(
            **self._envelope(at_ms),
            event=event,
            detail=detail[:DETAIL_LIMIT],
            exam_key=exam_key,
            image_key=image_key,
            data={k: v[:DATA_TEXT_LIMIT] if isinstance(v, str) else v for k, v in data.items()},
        )
        return Publication(
            kind=Kind.EVENT,
            topic=self.topics.event,
            message=message,
            retained=False,
            expiry_s=self.event_expiry_s,
        )

    def drift_message(
        self,
        *,
        at_ms: int,
        model: ModelRef,
        day: str,
        images: int,
        exams: int,
        histogram: Sequence[int],
        psi: float | None,
        priority_rate: float | None,
        not_assessed_rate: Mapping[Reason, float],
        descriptors: DescriptorDriftPart | None = None,
    ) -> Publication:
        """A day's comparison with the reference. `day`: `YYYY-MM-DD`; rates 0-1."""
        message = DriftMessage(
            **self._envelope(at_ms),
            model=ModelPart(name=model.name, version=model.version),
            day=day,
            images=images,
            exams=exams,
            histogram=tuple(histogram),
            psi=psi,
            priority_rate=priority_rate,
            not_assessed_rate=dict(not_assessed_rate),
            descriptors=descriptors,
        )
        return Publication(
            kind=Kind.DRIFT,
            topic=self.topics.drift,
            message=message,
            retained=True,
            expiry_s=FOREVER_S,
        )

    # --- standing -----------------------------------------------------------------------------

    def status_message(
        self, facts: StatusFacts, *, at_ms: int, last_seq: int, offline: bool = False
    ) -> Announcement:
        """Birth, a change of state, or (`offline`) the clean stop."""
        state = UnitState.DEGRADED if facts.reasons else UnitState.ONLINE
        message = StatusMessage(
            **self._envelope(at_ms),
            **dict(facts),
            last_seq=last_seq,
            ledger_id=self.ledger_id,
            state=UnitState.OFFLINE if offline else state,
        )
        return Announcement(self.topics.status, message.encode())

    def last_will(self, facts: StatusFacts, *, at_ms: int, last_seq: int) -> Announcement:
        """What the broker says for us when we are gone; written when the connection is made.

        It says so of itself, and nothing that only that moment knew.
        """
        lasting = facts.model_copy(
            update={
                "reasons": (),
                "executed_precision": None,
                "actual_device": None,
                "fallback_reason": "",
            }
        )
        message = StatusMessage(
            **self._envelope(at_ms),
            **dict(lasting),
            last_seq=last_seq,
            ledger_id=self.ledger_id,
            state=UnitState.OFFLINE,
            will=True,
            connected_at=utc_text(at_ms),
        )
        return Announcement(self.topics.status, message.encode())

    def health_message(
        self, facts: HealthFacts, outbox: OutboxFacts, *, at_ms: int, last_seq: int
    ) -> Announcement:
        """The figures of this moment."""
        message = HealthMessage(
            **self._envelope(at_ms), **dict(facts), last_seq=last_seq, outbox=outbox
        )
        return Announcement(self.topics.health, message.encode())

    # --- parts --------------------------------------------------------------------------------

    def _envelope(self, at_ms: int) -> dict[str, Any]:
        return {
            "site": self.site,
            "unit": self.unit,
            "boot_id": self.boot_id,
            "at": utc_text(at_ms),
        }

    def _entry(self, image: ExamImage, among: Sequence[ExamImage]) -> ViewEntry:
        retake = next((i for i in among if i.image_id == image.superseded_by), None)
        outcome, word = image.outcome, OutcomeWord.WAITING
        if outcome is not None:
            judged = isinstance(outcome, ViewResult)
            word = OutcomeWord.JUDGED if judged else OutcomeWord.NOT_ASSESSED
        return ViewEntry(
            image_key=self.image_key(image.sop_instance_uid),
            view=view_slug(image.view_code),
            role=image.role,
            outcome=word,
            reasons=_reasons(outcome),
            score=_score(outcome),
            flag=_flag(outcome),
            superseded_by=self.image_key(retake.sop_instance_uid) if retake else None,
        )


def _reasons(outcome: ViewOutcome | None) -> tuple[Reason, ...]:
    return outcome.reasons if isinstance(outcome, NotAssessed) else ()


def _score(outcome: ViewOutcome | None) -> float | None:
    return outcome.score if isinstance(outcome, ViewResult) else None


def _flag(outcome: ViewOutcome | None) -> Flag | None:
    if outcome is None:
        return None
    return outcome.flag if isinstance(outcome, ViewResult) else Flag.NOT_ASSESSED


def _judged_by(model: ModelRef | None, execution: Execution | None) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if model is not None:
        said |= {
            "model": ModelPart(name=model.name, version=model.version),
            "operating_point": OperatingPointPart(
                name=model.operating_point, threshold=model.threshold
            ),
            "precision": model.precision,
        }
    if execution is not None:
        said |= {
            "executed_precision": execution.executed_precision,
            "requested_device": execution.requested_device,
            "actual_device": execution.actual_device,
        }
    return said
