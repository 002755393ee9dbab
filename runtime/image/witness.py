"""Who said what about an image, and what became of it: what `judge --explain` tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.image.reasons import Remark


class Use(StrEnum):
    """What became of a word."""

    USED = "used"
    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    PASSED_OVER = "passed over"
    MISSING = "missing"
    KEPT = "kept"
    """Of a limit."""
    BROKEN = "not kept"


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One word about an image, kept by the function that decides by it."""

    about: str
    """What it speaks of: `window`, `padding`, `polarity`, …"""
    source: str
    """The attribute, the functional group, or what else said it."""
    said: str
    """Figures and coded terms of the file; never free text, which may name a patient."""
    use: Use = Use.USED
    why: str = ""
    """Why it was passed over, or what it contradicts."""
    remark: Remark | None = None
    """What a reader of the score is told of it."""


def remarks_of(witnesses: Iterable[Witness]) -> tuple[Remark, ...]:
    """What is to be remarked, each once, in order."""
    return tuple(dict.fromkeys(told.remark for told in witnesses if told.remark is not None))
