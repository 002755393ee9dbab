"""Macros of the functional groups, shared and per frame alike (PS3.3 C.7.6.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from runtime.dicom_header.attributes import integer, items, numbers, texts
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# Frame VOI LUT With LUT (PS3.3 C.7.6.16.2.10b) and Pixel Value Transformation (C.7.6.16.2.9).
DISPLAY_MACROS = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


def macros(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of macro `keyword`: of the shared groups first, then of each frame's."""
    return tuple(
        macro for kind in GROUPS for group in items(ds, kind) for macro in items(group, keyword)
    )


def with_display_of_frame(ds: Dataset) -> tuple[Dataset, dict[str, str]]:
    """The data set with window, tables and rescale of its one frame at the top; which those are.

    Returns:
        The data set, the same if there is nothing to bring up (an image of several frames is left
        as it is: nothing of it is displayed); and of each element that came from a macro, its
        keyword and the macro's.

    Raises:
        HeaderRefusedError: two places say different things (`unsupported_pixels`).
    """
    if integer(ds, "NumberOfFrames", 1) > 1:
        return ds, {}
    lifted: dict[BaseTag, DataElement | RawDataElement] = {}
    places: dict[str, str] = {}
    for macro, keywords in DISPLAY_MACROS.items():
        found = macros(ds, macro)
        for keyword in keywords if found else ():
            element = _agreed(keyword, (*found, ds))
            lifted |= element
            if element and any(keyword in place for place in found):
                places[keyword] = macro
    if not lifted:
        return ds, {}
    kept: dict[BaseTag, DataElement | RawDataElement] = {
        tag: ds.get_item(tag, keep_deferred=True)
        for tag in ds.keys()  # noqa: SIM118
    }
    kept.update(lifted)
    return Dataset(kept), places


def _agreed(
    keyword: str, places: tuple[Dataset, ...]
) -> dict[BaseTag, DataElement | RawDataElement]:
    """The element of the first place that has it, if no other has another value."""
    having = [place for place in places if keyword in place]
    if not having:
        return {}
    values = {numbers(place, keyword) or texts(place, keyword) for place in having}
    if len(values) > 1 or (len(having) > 1 and items(having[0], keyword)):
        raise HeaderRefusedError(
            Reason.UNSUPPORTED_PIXELS, f"functional groups: {keyword} is told twice, differently"
        )
    tag = BaseTag(tag_for_keyword(keyword) or 0)
    return {tag: having[0].get_item(tag, keep_deferred=True)}
