"""Macros of the functional groups, shared and per frame alike (PS3.3 C.7.6.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.dicom.attributes import items

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def macros(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of macro `keyword`: of the shared groups first, then of each frame's."""
    return tuple(
        macro for kind in GROUPS for group in items(ds, kind) for macro in items(group, keyword)
    )
