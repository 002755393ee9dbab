"""A console on a real ledger, with exams that are fed by hand: no worker, no broker."""

from __future__ import annotations

import json
import time

import cv2
import numpy as np

from runtime.console.console import Console
from runtime.console.reader import ConsoleReader
from runtime.console.settings import ConsoleSettings
from runtime.console.system_status import BrokerLink, system_status_of
from runtime.dicom.patient_identity import PatientFacts, PatientIdentity
from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.acknowledgement import Acknowledgements
from runtime.exams.exam_parts import exam_parts
from runtime.exams.registration import ActivePackage, SpooledObject
from runtime.image.outcome import ImageOutcome, JobOutcome
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import ModelPart, StatusFacts
from runtime.publishing.message_factory import MessageFactory
from tests.support.builders import MODEL, header, manifest, result

ALL = ("RCC", "LCC", "RMLO", "LMLO")


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class ConsoleBench:
    """Everything that the service wires around a console; what the box says is set by hand."""

    def __init__(self, folder, *, overdue_after_s=600.0, **settings) -> None:
        self.folder = folder
        self.ahead_ms = 0
        self.ledger = Ledger(folder / "ledger.db")
        message_factory = MessageFactory(site="s", unit="u", boot_id="b", site_key=b"k" * 32)
        self.message_factory = message_factory
        parts = exam_parts(
            ledger=self.ledger,
            message_factory=message_factory,
            rules=ExamRules(expected_views=ALL, idle_timeout_ms=60_000, exam_rule="max_view"),
            active=ActivePackage(manifest=manifest(), model=MODEL),
            clock_ms=self.clock_ms,
        )
        self.registration, self.notices = parts.registration, parts.notices
        self.exam_service = parts.exam_service
        self.acknowledgement = Acknowledgements(
            ledger=self.ledger,
            message_factory=message_factory,
            overdue_after_ms=int(overdue_after_s * 1000),
            clock_ms=self.clock_ms,
        )
        self.link = BrokerLink(connected=True, away_since_ms=None)
        self.status = StatusFacts(
            model=ModelPart(name="reference", version="0.1.0"),
            versions={"mammoedge": "0.1.0"},
            requested_device="CPU",
            actual_device="CPU",
        )
        self.restarts = 0
        self.settings = ConsoleSettings(**({"enabled": True, "port": 0} | settings))
        self.reader = ConsoleReader(
            ledger=self.ledger,
            system_status=self.system_status,
            clock_ms=self.clock_ms,
            expected_views=ALL,
            unacknowledged_after_s=overdue_after_s,
        )
        self.console = Console(
            self.settings,
            reader=self.reader,
            acknowledgements=self.acknowledgement,
            clock_ms=now_ms,
            audit_file=folder / "console-audit.jsonl",
        )
        self.ledger.on_commit(self.console.poke)
        self._numbers = 0

    def clock_ms(self) -> int:
        """The exams' clock: the wall's, moved by hand."""
        return now_ms() + self.ahead_ms

    def system_status(self, backlog):
        """What the service would say."""
        return system_status_of(
            self.status,
            link=self.link,
            backlog=backlog,
            disk_free_mb=51_200,
            worker_restarts=self.restarts,
            now_ms=now_ms(),
        )

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.console.address

    def receive(
        self, study, view, *, accession="", initials="", time="", patient=None, **header_changes
    ):
        """An image becomes durable; a small file stands in for it."""
        self._numbers += 1
        path = self.folder / f"{self._numbers}.dcm"
        self.registration.receive(
            SpooledObject(
                header=header(view, study=study, sop=f"1.2.9.{self._numbers}", **header_changes),
                sha256=f"{self._numbers:064d}",
                path=str(path),
                size_bytes=1,
                source="dicom",
                peer="UNIT",
                identity=PatientIdentity(
                    accession_number=accession, initials=initials, study_time=time
                ),
                patient=patient or PatientFacts(),
            )
        )

    def judge(self, outcome=None):
        """The worker's answer to the oldest job; the exam's flag."""
        job = self.ledger.transact(lambda tx: tx.next_job()).job
        images = tuple(
            ImageOutcome(image_id=image.image_id, outcome=outcome or result(0.1))
            for image in job.images
        )
        stage_ms = {"read": 2.1, "decode": 40.2, "infer": 13.4, "total": 71.5}
        return self.exam_service.record(
            JobOutcome(job_id=job.job_id, images=images, stage_ms=stage_ms)
        )

    def exam(self, study, *, score=0.1, views=ALL, **identity):
        """A whole exam; its key."""
        for view in views:
            self.receive(study, view, **identity)
            self.judge(result(score))
        return self.message_factory.exam_key(study)

    def said(self, kind="event"):
        """The messages in the outbox."""
        rows = self.ledger.waiting(10_000)
        return [json.loads(row.payload) for row in rows if row.kind == kind]

    def restart(self) -> None:
        """The console ends and comes back at the same port."""
        self.console.stop()
        self.console.start()

    def close(self) -> None:
        """Stops in order."""
        self.console.stop()
        self.ledger.close()


def picture(rows=320, columns=260):
    """A small gray JPEG, for a preview."""
    gray = np.tile(np.linspace(0, 220, columns, dtype=np.uint8), (rows, 1))
    return cv2.imencode(".jpg", gray)[1].tobytes()
