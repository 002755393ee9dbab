"""Where a simulated unit's images come from: phantoms, or a folder of exams; issued anew each time.

Templates lie on the disk. Each exposure is a template with new UIDs, times and an invented patient,
so that a unit can go on for ever and no two exams are the same to the receiver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.uid import UID

from firmware_bridge.simulated_exams.phantom_breast import PhantomBreast
from firmware_bridge.simulated_exams.phantom_image import (
    MAGNIFICATION_FACTOR,
    NOT_A_PATIENT,
    phantom_image,
)
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity, code_item
from models.errors import OperatorError
from runtime.dicom.header_reader import read_image_header
from runtime.image.header import HeaderRefusedError
from runtime.image.view_codes import MAGNIFICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

    from pydicom.dataset import Dataset

    from firmware_bridge.simulated_exams.unit_plan import Shot
    from firmware_bridge.simulated_exams.vendor_shapes import VendorShape

VIEWS = ("RCC", "LCC", "RMLO", "LMLO")


class NoExamsError(OperatorError, ValueError):
    """There is no exam with a view in that folder."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """The images of one exam by view."""

    files: dict[str, Path]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An image as a unit has it before it sends it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str


def phantom_templates(
    folder: Path,
    shapes: Sequence[VendorShape],
    *,
    scale: float,
    randomness: Random,
    drawn: Callable[[int, int], None] = lambda _number, _of: None,
) -> list[Template]:
    """One four-view phantom exam of each shape, written into `folder`.

    Every second exam has a mass and a cluster in one breast. `drawn` hears of each image that is
    ready, with its number and how many there will be.
    """
    templates = []
    for number, shape in enumerate(shapes):
        identity = ReissuedIdentity(
            study_instance_uid="1.2.3",
            series_instance_uid="1.2.3.1",
            patient_id="PHANTOM",
            acquired_at=datetime(2000, 1, 1).astimezone(),  # each exposure writes its own
        )
        seed, density = randomness.randrange(1 << 30), randomness.uniform(0.15, 0.6)
        compressed_mm = randomness.uniform(35.0, 65.0)
        files = {}
        for index, view in enumerate(VIEWS):
            breast = PhantomBreast(
                laterality=view[0],
                view=view[1:],
                density=density,
                compressed_mm=compressed_mm,
                masses=number % 2 if view[0] == "L" else 0,
                clusters=number % 2 if view[0] == "L" else 0,
                seed=seed + index,
            )
            image = phantom_image(
                breast,
                shape,
                identity,
                sop_instance_uid=f"1.2.3.1.{index}",
                instance_number=index + 1,
                detector=shape.detector.scaled(scale) if scale != 1.0 else None,
            )
            files[view] = folder / f"{shape.name}-{number}-{view}.dcm"
            image.save_as(files[view], enforce_file_format=True)
            drawn(number * len(VIEWS) + index + 1, len(shapes) * len(VIEWS))
        templates.append(Template(files=files))
    return templates


def folder_templates(paths: Sequence[Path]) -> list[Template]:
    """The exams among these files, by Study Instance UID; the first image of each view.

    Raises:
        NoExamsError: no file is a mammogram whose view is known.
    """
    exams: dict[str, dict[str, Path]] = {}
    for path in paths:
        try:
            header = read_image_header(path)
        except HeaderRefusedError:
            continue
        if header.mammography and "?" not in header.view_code:
            exams.setdefault(header.study_instance_uid, {}).setdefault(header.view_code, path)
    if not exams:
        raise NoExamsError("no mammogram whose view is known among these files")
    return [Template(files=files) for files in exams.values()]


def take(
    template: Template,
    shot: Shot,
    identity: ReissuedIdentity,
    *,
    path: Path,
    new_uid: Callable[[], str],
) -> Taken:
    """Writes one exposure of the exam to `path`: pixels of the template, everything else new."""
    image = dcmread(template.files[shot.view])
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(new_uid())
    image.StudyInstanceUID = identity.study_instance_uid
    image.SeriesInstanceUID = identity.series_instance_uid
    image.PatientName, image.PatientID = NOT_A_PATIENT, identity.patient_id
    image.PatientBirthDate = image.AccessionNumber = ""
    image.InstanceNumber = shot.number
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{event}Date", identity.acquired_at.strftime("%Y%m%d"))
        setattr(image, f"{event}Time", identity.acquired_at.strftime("%H%M%S.%f"))
    if shot.implant:
        image.BreastImplantPresent = "YES"
    if shot.magnification:
        _magnify(image)
    image.save_as(path, enforce_file_format=True)
    return Taken(
        path=path,
        sop_class_uid=str(image.SOPClassUID),
        sop_instance_uid=str(image.SOPInstanceUID),
    )


def _magnify(image: Dataset) -> None:
    image.EstimatedRadiographicMagnificationFactor = str(MAGNIFICATION_FACTOR)
    if image.get("ViewCodeSequence"):
        modifier = code_item(MAGNIFICATION, "Magnification")
        image.ViewCodeSequence[0].ViewModifierCodeSequence = [modifier]
