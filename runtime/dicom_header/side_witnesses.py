"""Which breast a data set shows, by everything in it that names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import text
from runtime.dicom_header.functional_groups import macros
from runtime.dicom_header.patient_orientation import side_of_letters
from runtime.dicom_header.view_witnesses import DESCRIPTIONS, words_at
from runtime.image.header import Laterality, View

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from runtime.dicom_header.view_witnesses import ViewFound


@dataclass(frozen=True, kw_only=True)
class SideFound:
    """The side, where it was found, and all that named one."""

    side: Laterality | None = None
    source: str = ""
    witnesses: tuple[tuple[str, Laterality], ...] = ()


def side_of(ds: Dataset, view: ViewFound) -> SideFound:
    """The side by the first that names it; the others are kept, they may contradict.

    Image Laterality (of the image), Laterality (of the series), Frame Laterality (PS3.3
    C.7.6.16.2.8), words about the view; Patient Orientation only confirms or contradicts. A
    description speaks where view or side are taken from it, not beside an attribute that is of
    the image.
    """
    said = [(keyword, text(ds, keyword).upper()) for keyword in ("ImageLaterality", "Laterality")]
    said += [
        ("FrameLaterality", text(anatomy, "FrameLaterality").upper())
        for anatomy in macros(ds, "FrameAnatomySequence")
    ]
    witnesses = [(who, Laterality(word)) for who, word in said if word in ("R", "L")]
    places = ["ViewPosition", "PatientOrientation"]
    if view.source in DESCRIPTIONS:
        places.append(view.source)
    witnesses += [(who, side) for who in places for side in sorted(words_at(ds, who).sides)]
    if not witnesses:
        witnesses = _of_descriptions(ds)
    side, source = (witnesses[0][1], witnesses[0][0]) if witnesses else (None, "")
    letters = side_of_letters(ds)
    if letters is not None and view.view not in (None, View.OTHER):
        witnesses.append(("PatientOrientation", letters))
    return SideFound(side=side, source=source, witnesses=tuple(dict.fromkeys(witnesses)))


def _of_descriptions(ds: Dataset) -> list[tuple[str, Laterality]]:
    for keyword in DESCRIPTIONS:
        sides = words_at(ds, keyword).sides
        if len(sides) == 1:
            return [(keyword, next(iter(sides)))]
    return []
