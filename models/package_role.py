"""What a package is for. Only one of the roles flags exams."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class PackageRole(StrEnum):
    """What a package is for: `triage` flags exams, every other role finds and never flags."""

    TRIAGE = "triage"
    DENSITY = "density"
    RISK = "risk"
    QUALITY = "quality"
    RESEARCH = "research"


LETTERS = ("a", "b", "c", "d")
DENSITY_NAME = re.compile(
    # "dense" as a word of its own: DenseNet is a network.
    r"densi[td]|dichte|(^|_)(non_?)?dense(_|$)|(^|_)(fat|fatty|scattered|fibroglandular)(_|$)"
    r"|^(heterogeneous|extreme)(ly)?$"
    r"|(^|_)(bi_?rads|acr)_?((category|class|type)_?)?[a-d]$"
)
"""ACR BI-RADS Atlas, 5th edition: breast composition a to d."""
YEARS = r"(\d+|one|two|three|four|five|ten)_?y(ea)?rs?|y(ea)?rs?_?\d+|\d+_?y"
RISK_NAME = re.compile(rf"(^|_)risk(_|\d|$).*({YEARS})(_|$)|(^|_)({YEARS})_(.*_)?risk(_|$)")


def role_by_names(suspicion: str, others: Collection[str]) -> PackageRole | None:
    """What a suspicion is, by names alone, where it plainly is none of cancer; else None.

    Args:
        suspicion: the output's name.
        others: the names of the outputs of the same tensor.
    """
    name, beside = _plain(suspicion), {_plain(other) for other in others} - {_plain(suspicion)}
    four = {f"{name[:-1]}{letter}" for letter in LETTERS}
    if DENSITY_NAME.search(name) or four <= {name, *beside}:
        return PackageRole.DENSITY
    if len(beside) > 1 and all(DENSITY_NAME.search(other) for other in beside):
        return PackageRole.DENSITY
    return PackageRole.RISK if RISK_NAME.search(name) else None


def _plain(name: str) -> str:
    """`BiRads-A`, `birads.A`: `bi_rads_a`, `birads_a`."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
