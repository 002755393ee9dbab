"""What makes a view no standard one, in every form; and how large its pixels are."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.manifest import Accepts
from runtime.breast_gate.suitability import assess_header
from runtime.dicom.header_reader import header_from
from runtime.image.reasons import Reason
from tests.support.synthetic import code, mammogram_dataset

SMALL = {"rows": 300, "columns": 260}
MODIFIED, PARTIAL = Reason.UNSUPPORTED_MODIFIER, Reason.PARTIAL_VIEW
SPACING, PROCESSING = Reason.SPACING_OUT_OF_RANGE, Reason.FOR_PROCESSING


def sequence(**facts: object) -> Sequence:
    """One item with some attributes."""
    item = Dataset()
    for keyword, value in facts.items():
        setattr(item, keyword, value)
    return Sequence([item])


# an item of the modifier sequence | what it is | reason
MODIFIERS = (
    ({"CodeValue": "399055006"}, "spot", MODIFIED),
    ({"CodeValue": "R-102D7"}, "spot in SNOMED RT", MODIFIED),
    ({"LongCodeValue": "399055006"}, "PS3.3 8.1: a long code", MODIFIED),
    ({"URNCodeValue": "http://snomed.info/id/399055006"}, "PS3.3 8.1: a URN", MODIFIED),
    ({"URNCodeValue": "urn:oid:2.16.840.1.113883.6.96.399055006"}, "likewise", MODIFIED),
    ({"CodeMeaning": "Spot Compression"}, "meaning only", MODIFIED),
    ({}, "an empty item", MODIFIED),
    ({"CodeValue": "12345", "CodingSchemeDesignator": "99LOCAL"}, "unknown", MODIFIED),
    ({"CodeValue": "442581004"}, "nipple in profile", None),
    ({"URNCodeValue": "http://snomed.info/id/442581004"}, "nipple in profile", None),
)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("item", "what", "reason"), MODIFIERS)
def test_a_modifier_counts_in_every_form_and_place(item, what, reason, beside):
    """Within the view's item (PS3.3 C.8.11.7) and, where writers err, beside it."""
    ds = mammogram_dataset(**SMALL)
    place = ds if beside else ds.ViewCodeSequence[0]
    place.ViewModifierCodeSequence = sequence(**item)
    found = assess_header(header_from(ds), Accepts())
    assert found.reasons == ((reason,) if reason else ()), what


SPECIMEN = Sequence([code("127457009", "Tissue specimen from breast")])

# header facts | source | reason (None: judged)
FACTS = (
    ({"PaddleDescription": "SPOT 10CM"}, "PS3.3 C.8.11.7", MODIFIED),
    ({"PaddleDescription": "10CM MAG"}, "Hologic", MODIFIED),
    ({"PaddleDescription": "18X24CM"}, "Hologic", None),
    ({"PaddleDescription": "SMALL BREAST"}, "Hologic", None),
    ({"AnatomicRegionSequence": Sequence([code("76752008", "Breast")])}, "CID 4", None),
    ({"AnatomicRegionSequence": SPECIMEN}, "CID 4014", MODIFIED),
    ({"PrimaryAnatomicStructureSequence": SPECIMEN}, "CID 4014", MODIFIED),
    ({"SpecimenDescriptionSequence": sequence(CodeMeaning="x")}, "PS3.3 C.7.6.22", MODIFIED),
    ({"BiopsyTargetSequence": sequence(CodeMeaning="x")}, "PS3.3 C.8.11.7", MODIFIED),
    ({"PartialViewCodeSequence": Sequence([code("255561001", "Medial")])}, "CID 4005", PARTIAL),
    ({"DistanceSourceToDetector": 660, "DistanceSourceToPatient": 660}, "GE sample", None),
    ({"DistanceSourceToDetector": 650, "DistanceSourceToPatient": 623}, "Siemens sample", None),
    ({"DistanceSourceToDetector": 660, "DistanceSourceToPatient": 366}, "Weasis 465", MODIFIED),
    ({"DistanceSourceToDetector": 660, "DistanceSourceToPatient": 0}, "a placeholder", None),
    ({"DistanceSourceToDetector": 66, "DistanceSourceToPatient": 30}, "centimetres", None),
    ({"ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [1, 1]}, "openREM, OHIF 1490", None),
    ({"ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [53.96, 45.02]}, "openREM", None),
    ({"ImagerPixelSpacing": None, "PixelSpacing": [1, 1]}, "1\\1 alone", SPACING),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"}, "nyukat 17", PROCESSING),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.5"}, "nyukat 17", PROCESSING),
)


@pytest.mark.parametrize(("facts", "source", "reason"), FACTS)
def test_what_says_the_same_in_other_words(facts, source, reason):
    """One row for each fact."""
    ds = mammogram_dataset(**SMALL)
    for keyword, value in facts.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    found = assess_header(header_from(ds), Accepts())
    assert found.reasons == ((reason,) if reason else ()), source


def test_a_class_that_contradicts_its_intent_is_refused_by_every_package():
    """PS3.3 A.26: nobody knows whether the pixels are raw."""
    ds = mammogram_dataset(**SMALL)
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2.1"
    both = Accepts(presentation_intents=("FOR PRESENTATION", "FOR PROCESSING"))
    found = assess_header(header_from(ds), both)
    assert found.reasons == (PROCESSING,)
    assert "contradict" in found.detail


@pytest.mark.parametrize(
    ("rows", "spacing_mm", "reasons"),
    [(3062, 0.1, ()), (3072, 0.1, ()), (3110, 0.1, (SPACING,)), (1536, 0.3, (SPACING,))],
)
def test_no_picture_is_larger_than_a_detector(rows, spacing_mm, reasons):
    """The longest have 31 cm; cornerstone3D 2387: doubled pixels, old spacing."""
    ds = mammogram_dataset(**SMALL)
    ds.Rows, ds.ImagerPixelSpacing = rows, [spacing_mm, spacing_mm]
    assert assess_header(header_from(ds), Accepts()).reasons == reasons


@pytest.mark.parametrize(
    ("facts", "spacing_mm"),
    [
        ({"DistanceSourceToDetector": 660, "DistanceSourceToPatient": 600}, 0.1 / 1.1),
        # What is stated counts before what can be computed.
        (
            {
                "DistanceSourceToDetector": 660,
                "DistanceSourceToPatient": 600,
                "EstimatedRadiographicMagnificationFactor": 1.0,
            },
            0.1,
        ),
        ({"PixelSpacing": [1, 1], "PixelSpacingCalibrationType": "GEOMETRY"}, 0.1),
        ({"PixelSpacing": [0.08, 0.08]}, 0.08),
    ],
)
def test_spacing_at_the_breast(facts, spacing_mm):
    """PS3.3 10.7.1.3; distances where no factor is stated; a placeholder loses."""
    ds = mammogram_dataset(**SMALL)
    for keyword, value in facts.items():
        setattr(ds, keyword, value)
    assert header_from(ds).pixel_spacing_mm == pytest.approx((spacing_mm, spacing_mm))
