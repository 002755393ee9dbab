"""A phantom breast as a DICOM image For Presentation, in the shape of a vendor's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from firmware_bridge.dicom_network.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from firmware_bridge.simulated_exams.phantom_breast import ADIPOSE_PER_MM, GLANDULAR_PER_MM
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity, code_item, reissued
from runtime.image.view_codes import MAGNIFICATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from firmware_bridge.simulated_exams.phantom_breast import (
        DetectorArea,
        DetectorCounts,
        PhantomBreast,
    )
    from firmware_bridge.simulated_exams.vendor_shapes import VendorShape

NOT_A_PATIENT = "PHANTOM^NOT A PATIENT"
COMMENT = "synthetic phantom for plumbing, load and quality control; no patient; not for care"
MAGNIFICATION_FACTOR = 1.8


def phantom_image(
    breast: PhantomBreast,
    shape: VendorShape,
    identity: ReissuedIdentity,
    *,
    sop_instance_uid: str,
    instance_number: int,
    detector: DetectorArea | None = None,
    implant: bool = False,
    magnification: bool = False,
) -> Dataset:
    """One image of an exam, uncompressed.

    Args:
        breast: what is exposed.
        shape: whose image it looks like.
        identity: of the exam.
        sop_instance_uid: of the image.
        instance_number: of the image.
        detector: instead of the vendor's own (smaller files).
        implant: the header says that there is one; nothing is drawn.
        magnification: a magnification view.
    """
    detector = detector or shape.detector
    values = presentation(breast.expose(detector), shape.bits_stored)
    if shape.monochrome1:
        values = (2**shape.bits_stored - 1 - values).astype(np.uint16)
    image = reissued(
        _plain(values, breast, shape),
        identity,
        sop_instance_uid=sop_instance_uid,
        instance_number=instance_number,
    )
    image.PatientName = NOT_A_PATIENT
    image.ImageComments = COMMENT
    image.Manufacturer = shape.manufacturer
    image.ManufacturerModelName = "mammoedge phantom"
    image.DetectorType = shape.detector_type
    image.BurnedInAnnotation = "NO"
    image.ImagerPixelSpacing = [detector.pixel_spacing_mm] * 2
    image.BodyPartThickness = str(round(breast.compressed_mm))
    image.CompressionForce = "90"
    image.BreastImplantPresent = "YES" if implant else "NO"
    if shape.sigmoid:
        image.VOILUTFunction = "SIGMOID"
    if magnification:
        image.EstimatedRadiographicMagnificationFactor = str(MAGNIFICATION_FACTOR)
        image.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence(
            [code_item(MAGNIFICATION, "Magnification")]
        )
    return image


def presentation(exposure: DetectorCounts, bits_stored: int) -> NDArray[np.uint16]:
    """Counts to values for display: bright tissue on black, the thin rim lifted.

    The logarithm of the counts is the attenuation; what the rim lacks in thickness is added as
    fat, as units do ("peripheral equalisation").
    """
    attenuation = np.log(exposure.quanta_in_air / exposure.quanta)
    attenuation += ADIPOSE_PER_MM * (exposure.compressed_mm - exposure.thickness_mm)
    low = 0.6 * ADIPOSE_PER_MM * exposure.compressed_mm
    high = 1.2 * GLANDULAR_PER_MM * exposure.compressed_mm
    top = 2**bits_stored - 1
    values = np.clip((attenuation - low) / (high - low), 0.0, 1.0) * (0.95 * top) + 0.02 * top
    values[exposure.thickness_mm <= 0.0] = 0.0
    stored: NDArray[np.uint16] = np.rint(values).astype(np.uint16)
    return stored


def _plain(values: NDArray[np.uint16], breast: PhantomBreast, shape: VendorShape) -> Dataset:
    """Pixels, side and view: what `reissued` makes an exam's image of."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_VR_LITTLE_ENDIAN)
    ds.Laterality, ds.PatientOrientation = breast.laterality, breast.view
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if shape.monochrome1 else "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, shape.bits_stored, shape.bits_stored - 1
    ds.PixelRepresentation = 0
    ds.PixelData = values.astype("<u2", copy=False).tobytes()
    ds["PixelData"].VR = "OW"
    return ds
