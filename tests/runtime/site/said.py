"""What a unit says, for tests of those who listen: real messages of a real voice."""

from __future__ import annotations

from dataclasses import replace

from runtime.exam_rules.exam_flag import Completion
from runtime.image.outcome import Flag
from runtime.messages.payloads import EventKind, HealthFacts, OutboxFacts, StatusFacts
from runtime.publishing.message_factory import MessageFactory
from runtime.site.subscriber.arrival import Arrival
from tests.support.builders import exam_flag, image, result

SITE = "st-anna"
AT_MS = 1_795_359_845_678
MESSAGE_FACTORY = MessageFactory(
    site=SITE, unit="mammo-1", boot_id="boot-a", site_key=bytes(range(32))
)


def message_factory(unit="mammo-1", boot="boot-a", ledger=None) -> MessageFactory:
    """A unit's voice in one of its lives, with one of its ledgers."""
    return replace(MESSAGE_FACTORY, unit=unit, boot_id=boot, ledger_id=ledger)


def arrival(publication, seq, *, at_ms=AT_MS + 20, retained=False) -> Arrival:
    """A row as it comes."""
    return Arrival(
        topic=publication.topic,
        payload=publication.payload(seq),
        retained=retained,
        at_ms=at_ms,
    )


def event(
    seq, *, by=MESSAGE_FACTORY, kind=EventKind.EXPOSURE, at_ms=AT_MS, heard_ms=None, **options
):
    """An event."""
    heard_ms = heard_ms or at_ms + 20
    detail = options.pop("detail", "")
    return arrival(
        by.event_message(kind, at_ms=at_ms, detail=detail), seq, at_ms=heard_ms, **options
    )


def exam(
    seq,
    *,
    study="1.2.3",
    revision=1,
    flag=Flag.PRIORITY,
    by=MESSAGE_FACTORY,
    at_ms=AT_MS,
    **options,
):
    """A revision of an exam's flag."""
    said = exam_flag(
        study_instance_uid=study, revision=revision, flag=flag, completed_by=Completion.MPPS
    )
    return arrival(by.exam_message(said, at_ms=at_ms), seq, **options)


def view(seq, *, study="1.2.3", by=MESSAGE_FACTORY, **options):
    """The outcome of one image."""
    said = by.view_message(
        image("RCC", result(0.2)), study_instance_uid=study, at_ms=AT_MS, stage_ms={"infer": 9.0}
    )
    return arrival(said, seq, **options)


def drift(seq, *, by=MESSAGE_FACTORY, **options):
    """A day's figures."""
    from tests.support.builders import MODEL

    said = by.drift_message(
        at_ms=AT_MS, model=MODEL, day="2026-11-21", images=4, exams=1, histogram=[4, 0],
        psi=None, priority_rate=0.0, not_assessed_rate={},
    )  # fmt: skip
    return arrival(said, seq, **options)


def status(last_seq, *, by=MESSAGE_FACTORY, at_ms=AT_MS, retained=False, offline=False, reasons=()):
    """Birth, degraded, clean stop or will."""
    said = by.status_message(
        StatusFacts(reasons=reasons), at_ms=at_ms, last_seq=last_seq, offline=offline
    )
    return Arrival(topic=said.topic, payload=said.payload, retained=retained, at_ms=at_ms + 5)


def health(last_seq, *, by=MESSAGE_FACTORY, at_ms=AT_MS, retained=False, waiting=0):
    """The figures of a moment."""
    outbox = OutboxFacts(waiting=waiting, oldest_s=None, parked=0, commands_refused=0)
    said = by.health_message(HealthFacts(), outbox, at_ms=at_ms, last_seq=last_seq)
    return Arrival(topic=said.topic, payload=said.payload, retained=retained, at_ms=at_ms + 5)
