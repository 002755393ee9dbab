"""The whole timeline of one exam, in milliseconds, for an engineer: no identity in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.image.outcome import ViewResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.image.outcome import ViewOutcome
    from runtime.ledger.transaction import LedgerTransaction


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """One thing that happened.

    `what`: received, judged, decided, published, acknowledged, unacknowledged.
    """

    at_ms: int
    what: str
    facts: dict[str, str | int | float | bool | list[str] | dict[str, float] | None] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class ExamTimeline:
    """One exam's happenings in order of time. `key` is its pseudonym, as on MQTT."""

    key: str
    happenings: tuple[TimelineEntry, ...]


ORDER = ("received", "judged", "decided", "published", "acknowledged", "unacknowledged")


def timeline_of(tx: LedgerTransaction, exam_key: str) -> ExamTimeline | None:
    """Reads a timeline; None if no such exam is on record."""
    study_uid = tx.exam_history.study_uid(exam_key)
    if study_uid is None:
        return None
    found = [*_images(tx, study_uid), *_revisions(tx, study_uid)]
    found += [
        TimelineEntry(at_ms=at_ms, what=note.value)
        for at_ms, note in tx.exam_history.notes(study_uid)
    ]
    found.sort(key=lambda one: (one.at_ms, ORDER.index(one.what)))
    return ExamTimeline(key=exam_key, happenings=tuple(found))


def _images(tx: LedgerTransaction, study_uid: str) -> Iterator[TimelineEntry]:
    views = {}
    for image in tx.exam_images(study_uid):
        views[image.image_id] = image.view_code
        yield TimelineEntry(
            at_ms=image.received_at_ms,
            what="received",
            facts={"image": image.image_id, "view": image.view_code, "role": image.role.value},
        )
    for done in tx.finished_jobs(study_uid):
        for image_id, outcome in done.outcomes:
            yield TimelineEntry(
                at_ms=done.done_at_ms,
                what="judged",
                facts={
                    "image": image_id,
                    "view": views.get(image_id, "?"),
                    "job": done.job_id,
                    "stage_ms": done.stage_ms,
                    **_said(outcome),
                },
            )


def _said(outcome: ViewOutcome) -> dict[str, str | float | list[str]]:
    said: dict[str, str | float | list[str]] = {
        "remarks": [remark.value for remark in outcome.remarks]
    }
    if isinstance(outcome, ViewResult):
        said |= {"outcome": "judged", "flag": outcome.flag.value, "score": outcome.score}
    else:
        said |= {"outcome": "not_assessed", "reasons": [reason.value for reason in outcome.reasons]}
    if outcome.model is not None:
        said["model"] = f"{outcome.model.name}-{outcome.model.version}"
        said["precision"] = outcome.model.precision
    if outcome.execution is not None:
        said["requested_device"] = outcome.execution.requested_device
        said["actual_device"] = outcome.execution.actual_device
    return said


def _revisions(tx: LedgerTransaction, study_uid: str) -> Iterator[TimelineEntry]:
    for record in tx.exam_history.revisions(study_uid):
        yield TimelineEntry(
            at_ms=record.decided_at_ms,
            what="decided",
            facts={
                "revision": record.revision,
                "flag": record.flag.value,
                "final": record.final,
                "completed_by": record.completed_by,
            },
        )
        if record.published_at_ms is not None:
            yield TimelineEntry(
                at_ms=record.published_at_ms,
                what="published",
                facts={"revision": record.revision, "seq": record.seq},
            )
