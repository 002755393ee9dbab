"""What Patient Orientation says: where the chest wall is, and which breast hangs so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import texts
from runtime.dicom_header.functional_groups import macros
from runtime.image.header import Laterality

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SIDES = {"P": ("right", "bottom"), "A": ("left", "top")}
# PS3.3 C.8.11.7.1.4: standard hanging; the letters of a craniocaudal view, and those of an oblique
# or lateral one whose file tells no more.
STANDARD = {
    ("A", "R"): Laterality.LEFT,
    ("P", "L"): Laterality.RIGHT,
    ("A", "F"): Laterality.LEFT,
    ("P", "F"): Laterality.RIGHT,
}


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
