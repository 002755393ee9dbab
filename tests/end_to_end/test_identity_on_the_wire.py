"""An hour's traffic between unit and broker, every byte of it, holds nothing of a patient.

Not an hour of waiting: what a unit sends in an hour depends on its exams, twelve of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from firmware_bridge.simulated_exams.phantom_breast import PhantomBreast
from firmware_bridge.simulated_exams.phantom_image import phantom_image
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
from firmware_bridge.simulated_exams.vendor_shapes import VENDOR_SHAPES
from tests.support.exams import VIEWS
from tests.support.recording_proxy import RecordingProxy
from tests.support.units import UnitProcess
from tests.support.waiting import wait_until

EXAMS_AN_HOUR = 12
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Woman:
    """Whom nobody on the wire may recognise."""

    number: int

    @property
    def name(self) -> str:
        return f"ZWETSCHGE{self.number}^ROSALINDE"

    @property
    def patient_id(self) -> str:
        return f"PATNR{self.number:03d}X"

    @property
    def accession(self) -> str:
        return f"ACCNR{self.number:03d}X"

    @property
    def birth_date(self) -> str:
        return f"1957{self.number % 12 + 1:02d}23"

    @property
    def study_uid(self) -> str:
        return f"1.2.826.0.1.3680043.10.4711.{self.number + 5000}.20260102030405"


def write_images(folder, woman: Woman) -> list:
    """Her four views, one of them with a broken pixel stream in every third exam."""
    identity = ReissuedIdentity(
        study_instance_uid=woman.study_uid,
        series_instance_uid=f"{woman.study_uid}.1",
        patient_id=woman.patient_id,
        acquired_at=datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - DICOM has local time
    )
    shape = list(VENDOR_SHAPES.values())[woman.number % len(VENDOR_SHAPES)]
    files = []
    for number, view in enumerate(VIEWS, 1):
        ds = phantom_image(
            PhantomBreast(laterality=view[0], view=view[1:], masses=1, clusters=0, seed=number),
            shape,
            identity,
            sop_instance_uid=f"{woman.study_uid}.1.{number}",
            instance_number=number,
            detector=shape.detector.scaled(0.08),
        )
        ds.PatientName, ds.PatientBirthDate = woman.name, woman.birth_date
        ds.AccessionNumber, ds.StudyDescription = woman.accession, f"Mx of {woman.name}"
        if woman.number % 3 == 0 and view == "RCC":
            ds.PixelData = ds.PixelData[:99] + b"\0"
        path = folder / f"{woman.number}-{view}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def send(unit: UnitProcess, files: list) -> None:
    """As an acquisition workstation does."""
    parcels = [outgoing(path) for path in files]
    with StorageScu(Destination.parse(unit.address), parcels) as sender:
        assert [sender.send(parcel).outcome for parcel in parcels] == [Outcome.STORED] * 4


def secrets_of(woman: Woman) -> list[str]:
    """Every spelling that a search finds."""
    date = woman.birth_date
    return [
        *woman.name.split("^"),
        woman.patient_id,
        woman.accession,
        woman.study_uid,
        date,
        f"{date[:4]}-{date[4:6]}-{date[6:]}",
        f"{date[6:]}.{date[4:6]}.{date[:4]}",
    ]


def found(recorded: bytes, secrets: list[str]) -> list[str]:
    """Which of them stand in the bytes, in any case, as 8 or 16 bit text."""
    lowered = recorded.lower()
    return [
        secret
        for secret in secrets
        if any(
            secret.lower().encode(coding) in lowered
            for coding in ("utf-8", "utf-16-le", "utf-16-be")
        )
    ]


def finals(story_subscriber) -> int:
    """How many exams have their final flag."""
    records = story_subscriber.once().values()
    return len({r.body["exam_key"] for r in records if r.body.get("final")})


def test_an_hours_traffic_names_nobody(story, tmp_path):
    """Names, numbers, dates and UIDs of twelve exams and of refused objects: none in the bytes."""
    story.broker.start()
    women = [Woman(number) for number in range(EXAMS_AN_HOUR)]
    with RecordingProxy(story.broker.port) as tap:
        unit = UnitProcess(
            story.folder / "unit", package=story.packages["view"], broker_port=tap.port
        )
        story.stack.callback(unit.kill)
        unit.start().wait_listening()
        subscriber = story.subscriber()
        for woman in women:
            send(unit, write_images(tmp_path, woman))
        # What is refused speaks of itself in an event: a file that is named for her, of the wrong
        # kind, and one that is no DICOM at all.
        wrong = dcmread(tmp_path / "1-RCC.dcm")
        wrong.SOPClassUID = wrong.file_meta.MediaStorageSOPClassUID = CTImageStorage
        wrong.save_as(unit.folder / "inbox" / f"{women[1].name}.dcm")
        (unit.folder / "inbox" / f"{women[2].name}-2.dcm").write_text(women[2].patient_id)
        wait_until(
            lambda: finals(subscriber) == EXAMS_AN_HOUR,
            lambda: f"the flags: {unit.log[-2000:]}",
            120,
        )
        refused = unit.folder / "inbox" / "refused"
        wait_until(lambda: len(list(refused.glob("*.dcm"))) == 2, "two refusals")
        wait_until(
            lambda: any(b"image_refused" in r.payload for r in subscriber.topics("event")),
            what="a refusal that is told",
        )
        assert unit.stop() == 0
        recorded = tap.recorded
        assert len(subscriber.once()) > 5 * EXAMS_AN_HOUR
        for record in subscriber.once().values():
            assert record.payload in recorded  # the tap has seen what the subscriber was given
        assert b'"not_assessed"' in recorded
        secrets = sorted({secret for woman in women for secret in secrets_of(woman)})
        assert found(recorded, secrets) == []
        # The search finds what a site has switched on, and nothing else.
        settings = unit.config.read_text()
        unit.config.write_text(
            settings.replace("[identity]", "[identity]\npublish_accession_number = true")
        )
        unit.start().wait_listening()
        known = Woman(99)
        send(unit, write_images(tmp_path, known))
        wait_until(
            lambda: finals(subscriber) == EXAMS_AN_HOUR + 1,
            lambda: f"the flags: {unit.log[-2000:]}",
        )
        assert found(tap.recorded, [*secrets, *secrets_of(known)]) == [known.accession]
