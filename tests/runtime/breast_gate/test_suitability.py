"""Each thing that speaks against an image has its reason, and a good image has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.manifest import Accepts, Recipe, ResizeStep
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.header_reader import header_from
from runtime.dicom.stored_image import open_image
from runtime.image.reasons import Reason, Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

SMALL = {"rows": 300, "columns": 260}


def to_spacing(film_spacing_mm: float | None) -> Recipe:
    step = ResizeStep(
        mode="spacing_mm", height=64, width=64, spacing_mm=1.0, film_spacing_mm=film_spacing_mm
    )
    return Recipe(steps=(step,))


def test_a_standard_view_has_nothing_against_it():
    """A CC view for presentation."""
    found = assess_header(header_from(mammogram_dataset(**SMALL)), Accepts())
    assert found.suitable
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("options", "accepts", "reasons"),
    [
        ({"view": "XCCL"}, Accepts(), [Reason.UNSUPPORTED_VIEW]),
        ({"view": "XCCL"}, Accepts(views=("XCCL",)), []),
        ({"view": "SPECIMEN"}, Accepts(), [Reason.UNSUPPORTED_VIEW]),
        ({"view": ""}, Accepts(), [Reason.VIEW_UNKNOWN]),
        ({"modifiers": ("spot",)}, Accepts(), [Reason.UNSUPPORTED_MODIFIER]),
        # A magnification stand that sets no modifier; a contact view of a thick breast.
        ({"magnification": 1.8}, Accepts(), [Reason.UNSUPPORTED_MODIFIER]),
        ({"magnification": 1.1}, Accepts(), []),
        ({"modifiers": ("magnification",)}, Accepts(), [Reason.UNSUPPORTED_MODIFIER]),
        ({"modifiers": ("442581004",)}, Accepts(), []),  # nipple in profile
        ({"modifiers": ("implant_displaced",)}, Accepts(), [Reason.IMPLANT]),
        ({"implant": True}, Accepts(), [Reason.IMPLANT]),
        ({"partial": True}, Accepts(), [Reason.PARTIAL_VIEW]),
        ({"tomosynthesis": True}, Accepts(), [Reason.TOMOSYNTHESIS_VOLUME]),
        ({"intent": "FOR PROCESSING"}, Accepts(), [Reason.FOR_PROCESSING]),
        (
            {"intent": "FOR PROCESSING"},
            Accepts(presentation_intents=("FOR PROCESSING",)),
            [],
        ),
        ({"quality_control": True}, Accepts(), [Reason.QUALITY_CONTROL]),
        ({"film": True}, Accepts(), []),
        ({"film": True}, Accepts(film=False), [Reason.FILM_NOT_ACCEPTED]),
        ({"laterality": ""}, Accepts(), [Reason.LATERALITY_MISSING]),
        (
            {"manufacturer": "ACME"},
            Accepts(manufacturers=("HOLOGIC",)),
            [Reason.MANUFACTURER_NOT_ACCEPTED],
        ),
        ({"manufacturer": "Hologic, Inc."}, Accepts(manufacturers=("HOLOGIC",)), []),
        ({"manufacturer": ""}, Accepts(manufacturers=("GE",)), [Reason.MANUFACTURER_NOT_ACCEPTED]),
        ({}, Accepts(minimum_rows=301), [Reason.TOO_SMALL]),
        ({}, Accepts(minimum_columns=261), [Reason.TOO_SMALL]),
        ({"pixel_spacing_mm": 0.5}, Accepts(), [Reason.SPACING_OUT_OF_RANGE]),
        ({"pixel_spacing_mm": None}, Accepts(), []),
        (
            {"implant": True, "view": "ML", "partial": True},
            Accepts(),
            [Reason.UNSUPPORTED_VIEW, Reason.IMPLANT, Reason.PARTIAL_VIEW],
        ),
    ],
)
def test_the_header_decides(options, accepts, reasons):
    """One deviation, one reason; several deviations, all of theirs."""
    found = assess_header(header_from(mammogram_dataset(**{**SMALL, **options})), accepts)
    assert list(found.reasons) == reasons


@pytest.mark.parametrize(
    ("film", "film_spacing_mm", "reasons"),
    [
        (False, 0.05, [Reason.SPACING_UNKNOWN]),
        (True, None, [Reason.SPACING_UNKNOWN]),
        (True, 0.05, []),
    ],
)
def test_spacing_is_missed_only_by_a_recipe_that_needs_it(film, film_spacing_mm, reasons):
    """Film may have an assumed spacing; a detector's image must say its own."""
    header = header_from(mammogram_dataset(film=film, pixel_spacing_mm=None, **SMALL))
    found = assess_header(header, Accepts(), to_spacing(film_spacing_mm))
    assert list(found.reasons) == reasons


@pytest.mark.parametrize(
    ("film", "film_spacing_mm", "reasons"),
    [
        (False, None, [Reason.SPACING_UNKNOWN]),
        (True, None, [Reason.SPACING_UNKNOWN]),
        (True, 0.05, []),
    ],
)
def test_a_margin_in_mm_needs_a_spacing_too(film, film_spacing_mm, reasons):
    """A reason, and no exception in the middle of the preparation."""
    resize = {"step": "resize", "mode": "fit_pad", "height": 8, "width": 8}
    crop = {"step": "crop", "mode": "breast_box", "margin_mm": 2.0}
    recipe = Recipe.model_validate({"steps": [crop, resize | {"film_spacing_mm": film_spacing_mm}]})
    header = header_from(mammogram_dataset(film=film, pixel_spacing_mm=None, **SMALL))
    assert list(assess_header(header, Accepts(), recipe).reasons) == reasons


def test_what_is_assumed_is_remarked():
    """The intent of film; a partial view of which nothing is said."""
    film = assess_header(header_from(mammogram_dataset(film=True, **SMALL)), Accepts())
    assert film.remarks == (Remark.INTENT_ASSUMED,)
    unknown = assess_header(header_from(mammogram_dataset(partial=None, **SMALL)), Accepts())
    assert unknown.remarks == (Remark.PARTIAL_VIEW_UNKNOWN,)


def test_a_stereotactic_exposure_is_no_standard_view():
    """Image Type value 3 STEREO, whatever its view says."""
    ds = mammogram_dataset(**SMALL)
    ds.ImageType = ["DERIVED", "PRIMARY", "STEREO", "LEFT"]
    found = assess_header(header_from(ds), Accepts())
    assert found.reasons == (Reason.UNSUPPORTED_MODIFIER,)


def test_another_modality_is_no_mammogram():
    """A chest radiograph by its SOP class."""
    header = replace(
        header_from(mammogram_dataset(**SMALL)), sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1"
    )
    assert assess_header(header, Accepts()).reasons == (Reason.NOT_MAMMOGRAPHY,)


# --- pixels --------------------------------------------------------------------------------------


def assessed(ds, tmp_path):
    register_decoders()
    return assess_pixels(load_mammogram(open_image(write(ds, tmp_path / "image"))), Accepts())


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("film", [False, True])
def test_a_breast_on_its_side_is_suitable(laterality, view, film, tmp_path):
    """Each standard view, digital and film; where the breast is goes with the verdict."""
    found = assessed(mammogram_dataset(laterality=laterality, view=view, film=film), tmp_path)
    assert found.suitable
    assert found.breast is not None


def test_a_breast_on_the_other_side_contradicts(tmp_path):
    """The header says left with the chest wall at the left, the image has it at the right."""
    ds = mammogram_dataset(laterality="L", pixels=breast_pixels(laterality="R"))
    assert assessed(ds, tmp_path).reasons == (Reason.LATERALITY_CONTRADICTS,)


def test_a_film_scanned_from_its_back_does_not_contradict(tmp_path):
    """Without Patient Orientation nobody knows which way the film lay."""
    ds = mammogram_dataset(film=True, laterality="L", pixels=breast_pixels(laterality="R"))
    assert assessed(ds, tmp_path).suitable


def test_a_mirrored_image_that_says_so_does_not_contradict(tmp_path):
    """Patient Orientation P at the right of a left breast: unusual hanging, true all the same."""
    ds = mammogram_dataset(laterality="L", pixels=breast_pixels(laterality="R"))
    ds.PatientOrientation = ["P", "R"]
    assert assessed(ds, tmp_path).suitable


def test_no_breast_is_a_reason(tmp_path):
    """An exposure without an object."""
    ds = mammogram_dataset(pixels=np.full((600, 500), 3000, np.uint16))
    assert assessed(ds, tmp_path).reasons == (Reason.NO_BREAST,)


def test_one_pixel_is_too_small(tmp_path):
    """A 1 x 1 image."""
    ds = mammogram_dataset(pixels=np.array([[9]], np.uint16))
    assert assessed(ds, tmp_path).reasons == (Reason.TOO_SMALL,)
