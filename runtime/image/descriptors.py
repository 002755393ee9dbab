"""What an image looks like, in five figures: to tell a changed scanner from changed patients.

No figure of it names a device or a person: a maker's name is one of a closed list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Finite = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Manufacturer(StrEnum):
    """Makers of mammography units and plate readers; a name that is not known is `other`."""

    AGFA = "agfa"
    CARESTREAM = "carestream"
    FUJIFILM = "fujifilm"
    GE = "ge"
    HOLOGIC = "hologic"
    IMS_GIOTTO = "ims_giotto"
    KONICA_MINOLTA = "konica_minolta"
    METALTRONICA = "metaltronica"
    PHILIPS = "philips"
    PLANMED = "planmed"
    SIEMENS = "siemens"
    OTHER = "other"
    UNKNOWN = "unknown"
    """The header names none."""


# How the makers begin their own name in Manufacturer (0008,0070), folded; firms that were bought
# keep the name of their time (Lorad, Kodak, Sectra).
NAMES = (
    ("agfa", Manufacturer.AGFA),
    ("carestream", Manufacturer.CARESTREAM),
    ("kodak", Manufacturer.CARESTREAM),
    ("eastman kodak", Manufacturer.CARESTREAM),
    ("fuji", Manufacturer.FUJIFILM),
    ("ge ", Manufacturer.GE),
    ("ge_", Manufacturer.GE),
    ("gems", Manufacturer.GE),
    ("general electric", Manufacturer.GE),
    ("hologic", Manufacturer.HOLOGIC),
    ("lorad", Manufacturer.HOLOGIC),
    ("ims", Manufacturer.IMS_GIOTTO),
    ("giotto", Manufacturer.IMS_GIOTTO),
    ("i.m.s", Manufacturer.IMS_GIOTTO),
    ("konica", Manufacturer.KONICA_MINOLTA),
    ("metaltronica", Manufacturer.METALTRONICA),
    ("philips", Manufacturer.PHILIPS),
    ("sectra", Manufacturer.PHILIPS),
    ("planmed", Manufacturer.PLANMED),
    ("siemens", Manufacturer.SIEMENS),
)


@dataclass(frozen=True, kw_only=True)
class ImageDescriptors:
    """Of one image in which a breast was found. A worker's answer is held to the ranges."""

    brightness: Share
    """Mean stored value within the breast, 0-1 of the range of values; air is dark."""
    breast_area_cm2: Finite | None
    """None where the spacing is unknown."""
    density: Share
    """0-1; see `runtime.breast_gate.descriptor_measuring`."""
    pixel_spacing_mm: tuple[Finite, Finite] | None
    """(row, column)."""
    manufacturer: Manufacturer


def manufacturer_of(name: str) -> Manufacturer:
    """The maker that a header's free text means; anything unknown in it goes no further."""
    folded = name.strip().casefold()
    if not folded:
        return Manufacturer.UNKNOWN
    if folded == "ge":
        return Manufacturer.GE
    return next((maker for start, maker in NAMES if folded.startswith(start)), Manufacturer.OTHER)
