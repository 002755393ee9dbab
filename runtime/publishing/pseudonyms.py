"""Names that leave the unit in place of identities."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.exam_rules.one_patient import PatientKeys

if TYPE_CHECKING:
    from runtime.dicom.patient_identity import PatientFacts

MINIMUM_KEY_BYTES = 16
KEY_HEX_DIGITS = 32
"""128 bits of the HMAC, in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """HMAC-SHA256 (RFC 2104) of a UID under the site's key, first 128 bits, hex.

    Whoever holds the site's key can compute a pseudonym from a UID; nobody can go back.
    `site_key`: at least 16 bytes.
    """

    site_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.site_key) < MINIMUM_KEY_BYTES:
            raise ValueError(f"the site's key needs {MINIMUM_KEY_BYTES} bytes or more")

    def exam_key(self, study_instance_uid: str) -> str:
        """The exam's name outside the unit, 32 hexadecimal digits."""
        return self._of(study_instance_uid)

    def image_key(self, sop_instance_uid: str) -> str:
        """The image's name outside the unit, 32 hexadecimal digits."""
        return self._of(sop_instance_uid)

    def patient_keys(self, facts: PatientFacts) -> PatientKeys:
        """What can be compared and not read. These names stay in the unit."""
        return PatientKeys(**{kind: self._fact(kind, text) for kind, text in vars(facts).items()})

    def _fact(self, kind: str, text: str) -> str:
        return self._of(f"{kind}\n{text}") if text else ""

    def _of(self, uid: str) -> str:
        # DICOM pads a UID of odd length with a trailing NUL (PS3.5 9.1): it is no part of the UID.
        digest = hmac.new(self.site_key, uid.rstrip("\0 ").encode(), hashlib.sha256)
        return digest.hexdigest()[:KEY_HEX_DIGITS]
