"""What is no breast is never flagged: DICOM files through the pipeline with the shipped package."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from models.package import load_package
from runtime.cli.init import reference_package
from runtime.image.outcome import Flag, NotAssessed, ViewResult
from runtime.image.reasons import Reason
from runtime.inference.engine import open_engine
from runtime.unit.active_model import model_ref
from runtime.worker.pipeline import Pipeline
from tests.no_breast import families, photographs
from tests.no_breast.fields import axes
from tests.support.real_views import picture_views
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

BREAST_SHAPED = {"photograph, vignetted", "photograph, cut out", "photograph, hardened"}
"""Made to lie as a breast does, fading or cut to black; some of them are assessed (docs)."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The shipped package in INT8, at the operating point that flags most."""
    package = load_package(reference_package(), allow_unsigned=True)
    engine = open_engine(package, "int8", ("CPU",), None, threads=2)
    lowest = min(package.manifest.operating_points, key=lambda point: point.threshold)
    model = model_ref(package, precision="int8", operating_point=lowest.name)
    return Pipeline(manifest=package.manifest, model=model, engine=engine, max_pixels=64_000_000)


def outcome_of(pipeline: Pipeline, pixels, folder, *, number: int = 0, **options):
    """What a DICOM file with these pixels and the header of a sound view comes to."""
    laterality = "LR"[number % 2]
    ds = mammogram_dataset(
        pixels=pixels, laterality=laterality, view=("CC", "MLO")[number // 2 % 2], **options
    )
    syntax = ExplicitVRLittleEndian if number % 3 else JPEGLSLossless
    path = write(ds, folder / "image.dcm", transfer_syntax=syntax)
    image, _ = pipeline.judge_view("one", path)
    return image.outcome


def test_drawn_pictures_are_not_assessed(pipeline, tmp_path):
    """Text, noise, blank, saturated, test patterns, chest, hand, knee, phantoms: no priority."""
    reasons = {}
    for case in families.drawn(2):
        outcome = outcome_of(pipeline, case.pixels, tmp_path, number=case.number)
        said = outcome.reasons if isinstance(outcome, NotAssessed) else ("assessed",)
        reasons[case.family, case.number] = said
    accepted = {key for key, said in reasons.items() if said != (Reason.NO_BREAST,)}
    assert accepted == set()
    assert len(reasons) == 2 * len(families.DRAWN)


def test_photographs_are_not_assessed(pipeline, tmp_path):
    """Upright, pieces, turned, negative, on black; those of scikit-learn, which the tests have."""
    pytest.importorskip("sklearn")
    ours = {"china", "flower"}
    pictures = {k: v for k, v in photographs.installed_photographs().items() if k in ours}
    assert set(pictures) == ours
    assessed = []
    for case in families.photographed(6, pictures):
        if case.family not in BREAST_SHAPED:
            outcome = outcome_of(pipeline, case.pixels, tmp_path, number=case.number)
            if not isinstance(outcome, NotAssessed):
                assessed.append((case.family, case.number))
    assert assessed == []


def test_real_radiographs_of_other_parts_are_not_assessed(pipeline, tmp_path):
    """A chest and a limb under a mammogram's header: turned, mirrored, as negatives."""
    outcomes = [
        outcome_of(pipeline, case.pixels, tmp_path, number=case.number)
        for case in families.radiographed(0)
    ]
    assert [one for one in outcomes if not isinstance(one, NotAssessed)] == []
    assert {one.reasons for one in outcomes} == {(Reason.NO_BREAST,)}
    assert len(outcomes) == 2 * 16


def test_a_refusal_says_what_was_seen(pipeline, tmp_path):
    """For people, beside the reason."""
    outcome = outcome_of(pipeline, np.full((600, 500), 4095), tmp_path)
    assert (outcome.reasons, outcome.detail) == ((Reason.NO_BREAST,), "the same gray everywhere")
    down, across = axes((640, 520))
    plain = np.clip(1 - (down / 0.8) ** 2 - ((across + 1) / 1.4) ** 2, 0, 1) * 4000
    assert outcome_of(pipeline, plain, tmp_path).detail == "an even glow without tissue"


def test_synthetic_and_inverted_breasts_are_assessed(pipeline, tmp_path):
    """The gate is no wall: breasts pass, in MONOCHROME1 too."""
    for number, options in enumerate(({}, {"monochrome1": True}, {"bits_stored": 16})):
        pixels = breast_pixels(
            laterality="LR"[number % 2],
            view=("CC", "MLO")[number // 2 % 2],
            bits_stored=options.get("bits_stored", 12),
            seed=number,
        )
        outcome = outcome_of(pipeline, pixels, tmp_path, number=number, **options)
        assert isinstance(outcome, ViewResult), outcome
        assert outcome.flag in (Flag.NONE, Flag.PRIORITY)


@pytest.mark.parametrize(("folder", "every"), [("mini-mias", 12), ("cdd-cesm-dm", 8)])
def test_real_views_are_assessed(pipeline, shared_data, tmp_path, folder, every):
    """A real film or digital view in a DICOM file is judged, whatever its score."""
    views = [view for n, view in enumerate(picture_views(shared_data, folder)) if n % every == 0]
    refused = []
    for view in views:
        ds = mammogram_dataset(
            pixels=view.pixels, bits_stored=8, window=(128, 256), film=True, view="MLO"
        )
        image, _ = pipeline.judge_view("one", write(ds, tmp_path / "real.dcm"))
        if isinstance(image.outcome, NotAssessed):
            refused.append((view.name, image.outcome))
    assert refused == []
