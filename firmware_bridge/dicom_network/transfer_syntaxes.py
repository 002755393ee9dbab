"""SOP classes and transfer syntaxes that are accepted, and the presentation contexts of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from runtime.dicom.other_objects import passed_over_name

if TYPE_CHECKING:
    from collections.abc import Iterable

VERIFICATION = "1.2.840.10008.1.1"

DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
DIGITAL_MAMMOGRAPHY_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"  # Modality Performed Procedure Step
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"  # push model

# PS3.4 B.5: the storage classes of mammography. Scanned film comes as Secondary Capture; the
# receiver refuses those that are no mammograms, by their Modality.
STORAGE_CLASSES: tuple[str, ...] = (
    DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION,
    DIGITAL_MAMMOGRAPHY_FOR_PROCESSING,
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # Breast Tomosynthesis
    "1.2.840.10008.5.1.4.1.1.13.1.4",  # Breast Projection X-Ray, For Presentation
    "1.2.840.10008.5.1.4.1.1.13.1.5",  # Breast Projection X-Ray, For Processing
    SECONDARY_CAPTURE,
)

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

# PS3.5 section 10 and annex A. Where a sender offers several in one context the first of these is
# agreed on: pixels without compression need no decoder.
TRANSFER_SYNTAXES: tuple[str, ...] = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,  # retired, still sent
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline, 8 bit
    "1.2.840.10008.1.2.4.51",  # JPEG Extended, 12 bit
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, selection value 1
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K Lossless, RPCL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.5",  # RLE Lossless
)


NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def accepted_contexts() -> list[PresentationContext]:
    """The presentation contexts that the intake accepts.

    Storage in every syntax; Verification, rejection notes, procedure steps and storage commitment
    in those that need no decoder.
    """
    storage = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES]
    others = (VERIFICATION, KEY_OBJECT_SELECTION, PROCEDURE_STEP, STORAGE_COMMITMENT)
    return [*(build_context(uid, list(NATIVE)) for uid in others), *storage]


def passed_over_contexts(proposed: Iterable[str]) -> list[PresentationContext]:
    """Contexts for those of the proposed classes that are stored and hold no images.

    A peer that sends its dose reports along is told of each that it is passed over, and not that
    its association has failed. Made for one association: all of them would cost each 10 ms.
    """
    return [
        build_context(uid, list(NATIVE))
        for uid in sorted(set(proposed) - {KEY_OBJECT_SELECTION})
        if passed_over_name(uid) and issubclass(uid_to_service_class(uid), StorageServiceClass)
    ]
