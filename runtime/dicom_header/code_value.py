"""The code of one item of a code sequence, in whichever attribute it is (PS3.3 8.1 and 8.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import text
from runtime.image.view_codes import snomed_ct

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CODE_KEYWORDS = ("CodeValue", "LongCodeValue", "URNCodeValue")
# `http://snomed.info/id/399055006`, `urn:oid:2.16.840.1.113883.6.96.399055006`
SNOMED_IN_URN = re.compile(r"(?<=[./:=|])[0-9]{6,18}$")


def code_value(item: Dataset) -> str:
    """SNOMED CT where there is one, else the code as it stands; "" if the item has none."""
    for keyword in CODE_KEYWORDS:
        value = text(item, keyword)
        found = SNOMED_IN_URN.search(value)
        if value:
            return snomed_ct(found.group() if found else value)
    return ""
