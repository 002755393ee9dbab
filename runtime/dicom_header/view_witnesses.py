"""Which view a data set shows, by code and by words: `LCC`, `L CC`, `CC LEFT`, `R-MLO`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import code_value, items, text
from runtime.image.header import Laterality, View
from runtime.image.view_codes import VIEW_NAMES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)

SIDE = r"R(?:IGHT|T)?|L(?:EFT|T)?"
VIEW = r"MLO|XCCL|CC|ML|LM|CRANIO[ -]?CAUDAL|MEDIO[ -]?LATERAL[ -]?OBLIQUE"
# View Position is of that alone. A trailing side stands apart: CCL may be the exaggerated view.
WHOLE = re.compile(rf"(?:({SIDE})[ ._-]*)?({VIEW})(?:[ ._-]+({SIDE}))?")
# A view that stands for itself in a longer text ("R CC", "LMLO", "MLO-L"), no part of a word.
TOKEN = re.compile(rf"(?<![A-Z0-9])(?:({SIDE})[ _-]?)?({VIEW})(?:[ _-]?({SIDE}))?(?![A-Z0-9])")
# Cubic centimetres and millilitres of something: "100 cc", "2 ml/s", "300 mg/ml".
VOLUME = re.compile(
    r"(?<![A-Z0-9])[0-9]+(?:[.,][0-9]+)?[ _(-]{0,2}(?:CC|ML)(?![A-Z0-9])"
    r"|(?<![A-Z0-9])(?:CC|ML)/(?:S|SEC|MIN|H|KG)(?![A-Z])"
    r"|(?:M?G|MGI)/ML(?![A-Z0-9])"
)
# Beside these, CC and ML without a side are volumes as well.
INJECTION = re.compile(
    r"IOHEXOL|IOPAMIDOL|IOPROMID|IODIXANOL|IOVERSOL|IOMEPROL|OMNIPAQUE|ULTRAVIST|ISOVUE|VISIPAQUE"
    r"|CONTRAST|SALINE|INJECT"
)
LONG_WORDS = {"CRANIOCAUDAL": View.CC, "MEDIOLATERALOBLIQUE": View.MLO}


@dataclass(frozen=True, kw_only=True)
class ViewWords:
    """What a text says; the default says nothing."""

    views: frozenset[View] = frozenset()
    sides: frozenset[Laterality] = frozenset()

    @property
    def view(self) -> View | None:
        """The view, if there is exactly one."""
        return next(iter(self.views)) if len(self.views) == 1 else None


@dataclass(frozen=True, kw_only=True)
class ViewFound:
    """The view, where it was found, and all that named one."""

    view: View | None = None
    source: str = ""
    witnesses: tuple[tuple[str, View], ...] = ()


def view_of(ds: Dataset) -> ViewFound:
    """The view by code, else by word; None where code and word contradict each other.

    Words are asked in the order View Position, Patient Orientation, descriptions; a description is
    no witness against a code (it is often that of the whole series).
    """
    codes = [code_value(item) for item in items(ds, "ViewCodeSequence")]
    coded = [("ViewCodeSequence", View(VIEW_NAMES[c])) for c in codes if c in VIEW_NAMES]
    position = words_of_position(text(ds, "ViewPosition")).view
    worded = [("ViewPosition", position)] if position else []
    witnesses = tuple(coded + worded)
    if len({view for _, view in witnesses}) > 1:
        return ViewFound(witnesses=witnesses)
    if witnesses:
        return ViewFound(view=witnesses[0][1], source=witnesses[0][0], witnesses=witnesses)
    view, source = _of_words(ds)
    if view is None and codes:
        view, source = View.OTHER, "ViewCodeSequence"
    return ViewFound(view=view, source=source)


def _of_words(ds: Dataset) -> tuple[View | None, str]:
    if text(ds, "ViewPosition"):
        return View.OTHER, "ViewPosition"
    for keyword in ("PatientOrientation", *DESCRIPTIONS):
        view = words_at(ds, keyword).view
        if view is not None:
            return view, keyword
    return None, ""


def words_at(ds: Dataset, keyword: str) -> ViewWords:
    """What attribute `keyword` says in words.

    Film scans of CBIS-DDSM have the view in Patient Orientation, where two directions belong
    (PS3.3 C.7.6.1.1.1).
    """
    if keyword in DESCRIPTIONS:
        return words_of_description(text(ds, keyword))
    return words_of_position(text(ds, keyword))


def words_of_position(text: str) -> ViewWords:
    """What a text says that holds a view, a side or both, and nothing else."""
    found = WHOLE.fullmatch(text.strip().upper())
    return _words([found] if found else [])


def words_of_description(text: str) -> ViewWords:
    """The views and their sides in a text about something; volumes are no views."""
    upper = text.upper()
    found = list(TOKEN.finditer(VOLUME.sub(" ", upper)))
    if INJECTION.search(upper):
        found = [match for match in found if match.group(1) or match.group(3)]
    return _words(found)


def _words(found: list[re.Match[str]]) -> ViewWords:
    names = [re.sub("[ -]", "", match.group(2)) for match in found]
    sides = (side for match in found for side in match.group(1, 3) if side)
    return ViewWords(
        views=frozenset(LONG_WORDS.get(name) or View(name) for name in names),
        sides=frozenset(Laterality(side[0]) for side in sides),
    )
