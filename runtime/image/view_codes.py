"""Codes of mammographic views and view modifiers: PS3.16 CID 4014 and CID 4015.

Units write them in SNOMED CT, and older ones in SNOMED RT, which goes by the designators SRT, SNM3
and 99SDM (PS3.16 section 8.1); both are read, SNOMED CT is what the project speaks.
"""

from __future__ import annotations

# CID 4014. A view that we have no name for is OTHER: known, and not supported.
VIEW_NAMES = {
    "399162004": "CC",
    "399368009": "MLO",
    "399260004": "ML",
    "399352003": "LM",
    "399192008": "XCCL",
    "399196006": "OTHER",  # caudo-cranial (from below)
    "399101009": "OTHER",  # XCCM
    "399099002": "OTHER",  # LMO
    "399188001": "OTHER",  # SIO
    "441555000": "OTHER",  # ISO
    "127457009": "OTHER",  # tissue specimen from breast
}

# CID 4014 and 4015 before 2018, and the never valid Y-X1770 and Y-X1771 that units wrote before
# 2004 (CID 4014, note 1).
SNOMED_CT_OF_RT = {
    "R-10242": "399162004",
    "R-10226": "399368009",
    "R-10224": "399260004",
    "R-10228": "399352003",
    "R-1024A": "399192008",
    "Y-X1770": "399192008",
    "R-1024B": "399101009",
    "Y-X1771": "399101009",
    "R-10244": "399196006",
    "R-10230": "399099002",
    "R-102D0": "399188001",
    "R-40AAA": "441555000",
    "G-8310": "127457009",
    "R-102D2": "399161006",
    "R-102D1": "399011000",
    "R-102D3": "399197002",
    "R-102D4": "399226006",
    "R-102CA": "414493004",
    "R-102C9": "415670009",
    "R-102D5": "399209000",
    "R-102D6": "399163009",
    "R-102D7": "399055006",
    "R-102C2": "399110001",
    "R-40AB3": "442581004",
    "P2-00161": "441752004",
    "R-40ABE": "442593008",
    "R-40AB2": "442580003",
}

UNREADABLE_MODIFIER = "unreadable"
"""Stands for a modifier whose code cannot be read."""
IMPLANT_DISPLACED = "399209000"
SPOT_COMPRESSION = "399055006"
MAGNIFICATION = "399163009"
SPECIMEN = "127457009"

# The others of CID 4015 show another part of the breast or another projection of it: cleavage
# 399161006, axillary tail 399011000, rolled 399197002/399226006/414493004/415670009, tangential
# 399110001, anterior compression 441752004.
HARMLESS_MODIFIERS = frozenset(
    {
        "442581004",  # nipple in profile: the standard view, taken with care
        "442593008",  # infra-mammary fold is shown: likewise
        "442580003",  # axillary tissue is shown: likewise
    }
)


def snomed_ct(value: str) -> str:
    """The SNOMED CT code of a code in either scheme; codes of neither stay as they are."""
    return SNOMED_CT_OF_RT.get(value, value)
