"""Which breast a data set shows, by everything in it that names one, and how it hangs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import text, texts
from runtime.dicom_header.functional_groups import macros
from runtime.dicom_header.view_witnesses import DESCRIPTIONS, words_at
from runtime.image.header import Laterality, View

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from runtime.dicom_header.view_witnesses import ViewFound

SIDES = {"P": ("right", "bottom"), "A": ("left", "top")}
# PS3.3 C.8.11.7.1.4: standard hanging; the letters of a craniocaudal view, and those of an oblique
# or lateral one whose file tells no more.
STANDARD = {
    ("A", "R"): Laterality.LEFT,
    ("P", "L"): Laterality.RIGHT,
    ("A", "F"): Laterality.LEFT,
    ("P", "F"): Laterality.RIGHT,
}


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


def directions(ds: Dataset) -> tuple[str, ...]:
    """(direction of rows, direction of columns) in capitals; () if they are not told."""
    for place in (ds, *macros(ds, "PatientOrientationInFrameSequence")):
        found = tuple(word.upper() for word in texts(place, "PatientOrientation"))
        if len(found) == 2 and all(found):
            return found
    return ()


def chest_wall_side(ds: Dataset) -> str:
    """Where the chest wall must be, by Patient Orientation (PS3.3 C.7.6.1.1.1), or "".

    The first value is the direction in which rows run (to the right), the second that in which
    columns run (downwards); A is away from the chest wall, P towards it.
    """
    along = directions(ds)
    if not along:
        return ""
    rows, columns = (direction[0] for direction in along)
    if rows in SIDES:
        return SIDES[rows][0]
    return SIDES[columns][1] if columns in SIDES else ""


def side_of_letters(ds: Dataset) -> Laterality | None:
    r"""The breast that the letters are of; None if they fit either.

    In an oblique view the way down is the way to the middle: FR is of the left breast however the
    image lies. In a craniocaudal view nothing but the standard hanging tells: A\R is of the left
    breast, or of a right one turned half round, and the safe answer is the left. Field of View
    Rotation and Horizontal Flip say nothing here: they count from the detector (a GE unit has 180
    in each right view). A\L and P\R, mirrored, are of either.
    """
    along = directions(ds)
    if not along:
        return None
    for letters in along:
        down, middle = set(letters) & {"F", "H"}, set(letters) & {"R", "L"}
        if len(down) == 1 and len(middle) == 1:
            to_the_right = (middle == {"R"}) == (down == {"F"})
            return Laterality.LEFT if to_the_right else Laterality.RIGHT
    return STANDARD.get((along[0][0], along[1][0]))
