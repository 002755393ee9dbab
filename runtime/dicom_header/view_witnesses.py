"""Which view a data set shows, by everything in it that names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import items, text
from runtime.dicom_header.code_value import code_value
from runtime.dicom_header.view_words import ViewWords, words_of_description, words_of_position
from runtime.image.header import View
from runtime.image.view_codes import VIEW_NAMES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)


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
