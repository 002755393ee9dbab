"""Units that say things to a site's store, without broker and ledger; real messages of ours."""

from __future__ import annotations

from dataclasses import replace

from runtime.image.outcome import Flag
from runtime.messages.payloads import (
    EventKind,
    HealthFacts,
    HealthMessage,
    ModelPart,
    OperatingPointPart,
    OutboxFacts,
    StatusFacts,
    StatusMessage,
)
from runtime.publishing.message_factory import MessageFactory
from runtime.site.store.ingested_message import IngestedMessage
from tests.support.builders import MODEL, exam_flag, image, result, unassessed

NOON_MS = 1_795_348_800_000
"""2026-11-22 12:00 UTC."""
KEY = bytes(range(32))
FACTS = StatusFacts(
    model=ModelPart(name="test", version="1.0.0"),
    operating_point=OperatingPointPart(name="balanced", threshold=0.5),
    versions={"mammoedge": "0.1.0"},
    requested_device="NPU",
    actual_device="CPU",
)


class SaidUnit:
    """One unit's mouth: numbers its messages as a ledger would, on its own clock."""

    def __init__(
        self, name="mammo-1", *, boot="boot-1", site="st-anna", first_seq=1, ledger=None
    ) -> None:
        self.message_factory = MessageFactory(
            site=site, unit=name, boot_id=boot, site_key=KEY, ledger_id=ledger
        )
        self.next_seq = first_seq
        self.clock_error_ms = 0
        self.model = MODEL

    def reboot(self, boot: str) -> SaidUnit:
        """The same unit after a restart."""
        self.message_factory = replace(self.message_factory, boot_id=boot)
        return self

    def _numbered(self, publication, at_ms, *, retained=False) -> IngestedMessage:
        message = publication.message.numbered(self.next_seq)
        self.next_seq += 1
        return IngestedMessage(message=message, received_ms=at_ms + 50, retained=retained)

    def exam(
        self, study=1, *, flag=Flag.NONE, revision=1, final=True, at_ms=NOON_MS, retained=False
    ) -> IngestedMessage:
        """A revision of an exam's flag."""
        said = exam_flag(
            images=(image("RCC", result(0.1), image_id=study),),
            study_instance_uid=f"1.2.{study}",
            flag=flag,
            revision=revision,
            final=final,
            score=0.8 if flag is Flag.PRIORITY else 0.1,
            model=self.model,
        )
        return self._numbered(
            self.message_factory.exam_message(said, at_ms=at_ms + self.clock_error_ms),
            at_ms,
            retained=retained,
        )

    def view(self, sop=1, *, study=1, reasons=(), at_ms=NOON_MS) -> IngestedMessage:
        """The outcome of an image, judged 80 ms after it was durable."""
        outcome = unassessed(*reasons) if reasons else result(0.1)
        shot = replace(
            image("RCC", outcome, image_id=sop), received_at_ms=at_ms + self.clock_error_ms - 80
        )
        return self._numbered(
            self.message_factory.view_message(
                shot,
                study_instance_uid=f"1.2.{study}",
                at_ms=at_ms + self.clock_error_ms,
                stage_ms={"total": 80.0},
            ),
            at_ms,
        )

    def event(self, kind=EventKind.EXPOSURE, *, at_ms=NOON_MS, exam=None) -> IngestedMessage:
        """Something that happened."""
        said = self.message_factory.event_message(
            kind, at_ms=at_ms + self.clock_error_ms, exam=exam
        )
        return self._numbered(said, at_ms)

    def drift(
        self, day="2026-11-21", *, histogram=(0,) * 20, psi=0.02, at_ms=NOON_MS
    ) -> IngestedMessage:
        """A day's drift."""
        said = self.message_factory.drift_message(
            at_ms=at_ms + self.clock_error_ms,
            model=self.model,
            day=day,
            images=sum(histogram),
            exams=sum(histogram) // 4,
            histogram=histogram,
            psi=psi,
            priority_rate=None,
            not_assessed_rate={},
        )
        return self._numbered(said, at_ms)

    def status(
        self, *, at_ms=NOON_MS, offline=False, retained=False, reasons=()
    ) -> IngestedMessage:
        """Birth, change or will."""
        facts = FACTS.model_copy(update={"reasons": reasons})
        said = self.message_factory.status_message(
            facts, at_ms=at_ms + self.clock_error_ms, last_seq=self.next_seq - 1, offline=offline
        )
        message = StatusMessage.model_validate_json(said.payload)
        return IngestedMessage(message=message, received_ms=at_ms + 50, retained=retained)

    def health(
        self, *, at_ms=NOON_MS, waiting=0, oldest_s=None, parked=0, retained=False
    ) -> IngestedMessage:
        """Figures of the moment."""
        outbox = OutboxFacts(waiting=waiting, oldest_s=oldest_s, parked=parked, commands_refused=0)
        said = self.message_factory.health_message(
            HealthFacts(), outbox, at_ms=at_ms + self.clock_error_ms, last_seq=self.next_seq - 1
        )
        message = HealthMessage.model_validate_json(said.payload)
        return IngestedMessage(message=message, received_ms=at_ms + 50, retained=retained)
