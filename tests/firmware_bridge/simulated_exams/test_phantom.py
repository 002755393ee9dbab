"""Phantoms: lesions where they are said to be, and images that every part of the way takes."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from firmware_bridge.simulated_exams.phantom_breast import DetectorArea, PhantomBreast
from firmware_bridge.simulated_exams.phantom_image import phantom_image, presentation
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
from firmware_bridge.simulated_exams.vendor_shapes import GE, HOLOGIC, VENDOR_SHAPES
from runtime.breast_gate.breast import find_breast
from runtime.dicom.header_reader import header_from
from tests.conftest import skip_or_fail
from tests.support.waiting import CHILD_S

IDENTITY = ReissuedIdentity(
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.4",
    patient_id="PHANTOM",
    acquired_at=datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - DICOM has local time
)
COARSE = HOLOGIC.detector.scaled(0.1)
FINE = DetectorArea(rows=1600, columns=1300, pixel_spacing_mm=0.1)


def image(shape=GE, *, laterality="L", view="CC", scale=0.2, **changes):
    """One phantom image of that shape, with fewer pixels."""
    breast = PhantomBreast(laterality=laterality, view=view, masses=1, clusters=1, seed=3)
    detector = shape.detector.scaled(scale)
    return phantom_image(
        breast,
        shape,
        IDENTITY,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        detector=detector,
        **changes,
    )


def values(breast, detector=COARSE):
    """The image's stored values as numbers."""
    return presentation(breast.expose(detector), 12).astype(np.float64)


@pytest.mark.parametrize("laterality", ["L", "R"])
def test_a_mass_is_where_it_is_said_to_be(laterality):
    """Brighter there than the same breast without it, and nowhere else."""
    facts = {"laterality": laterality, "view": "CC", "seed": 5}
    with_mass, without = (PhantomBreast(masses=n, **facts) for n in (1, 0))
    (lesion,) = with_mass.lesions(COARSE)
    row, column, radius = lesion.place(COARSE, laterality)
    difference = values(with_mass) - values(without)
    y, x = np.mgrid[: COARSE.rows, : COARSE.columns]
    apart = np.hypot(y - row, x - column)
    assert difference[apart < radius / 2].mean() > 100
    assert np.abs(difference[apart > 1.5 * radius]).max() <= 1


def test_calcifications_are_specks_within_their_cluster():
    """Single bright pixels in the cluster's radius; the rest of the breast is the same."""
    facts = {"laterality": "R", "view": "MLO", "seed": 6}
    with_specks, without = (PhantomBreast(clusters=n, **facts) for n in (1, 0))
    (lesion,) = with_specks.lesions(FINE)
    row, column, radius = lesion.place(FINE, "R")
    # Each pixel's noise follows its own counts: what a speck adds stands far above it.
    difference = values(with_specks, FINE) - values(without, FINE)
    y, x = np.nonzero(difference > 100)
    assert 8 <= len(y) <= 1000
    assert np.hypot(y - row, x - column).max() <= radius + 5


def test_the_same_seed_gives_the_same_image():
    """A failing test can be repeated; another seed is another breast."""
    first, again, other = (
        values(PhantomBreast(laterality="L", view="CC", seed=seed)) for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_is_that_of_counted_quanta():
    """The variance of the counts is their mean (Poisson), in air and behind the breast."""
    exposure = PhantomBreast(laterality="L", view="CC", seed=1).expose(COARSE)
    air = exposure.quanta[exposure.thickness_mm == 0.0]
    assert air.mean() == pytest.approx(exposure.quanta_in_air, rel=0.01)
    assert air.var() == pytest.approx(exposure.quanta_in_air, rel=0.05)
    assert exposure.quanta[exposure.thickness_mm > 10.0].max() < 0.9 * air.min()


@pytest.mark.parametrize("density", [0.15, 0.35, 0.6])
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_a_phantom_is_seen_as_a_breast(density, view):
    """The suitability gate lets it through, with its chest wall at the right side."""
    for seed in range(6):
        for laterality, wall in (("L", "left"), ("R", "right")):
            breast = PhantomBreast(laterality=laterality, view=view, density=density, seed=seed)
            found = find_breast(values(breast).astype(np.uint16), monochrome1=False, bits_stored=12)
            assert found is not None
            assert found.chest_wall == wall


@pytest.mark.parametrize("name", VENDOR_SHAPES)
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_every_shape_is_a_valid_mammogram(tmp_path, name, view):
    """Debian's dciodvfy prints no error; it says what it is; bits and tone are the vendor's."""
    if not Path("/usr/bin/dciodvfy").exists():
        skip_or_fail("/usr/bin/dciodvfy (Debian package dicom3tools)")
    shape = VENDOR_SHAPES[name]
    ds = image(shape, laterality="R", view=view)
    ds.save_as(tmp_path / "phantom.dcm", enforce_file_format=True)
    done = subprocess.run(
        ["/usr/bin/dciodvfy", tmp_path / "phantom.dcm"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line[:5] == "Error"]
    assert errors == []
    assert "NOT A PATIENT" in str(ds.PatientName)
    assert "no patient" in ds.ImageComments
    assert (ds.BitsStored, ds.Manufacturer) == (shape.bits_stored, shape.manufacturer)
    inverse = ds.PhotometricInterpretation == "MONOCHROME1"
    assert inverse is shape.monochrome1
    assert int(ds.pixel_array.max()) < 2**shape.bits_stored


def test_implants_and_magnification_views_say_so():
    """The header carries what makes an image unsuitable."""
    assert header_from(image(implant=True)).implant is True
    magnified = header_from(image(magnification=True))
    assert magnified.disqualifying_modifiers == ("399163009",)
    plain = header_from(image())
    assert (plain.implant, plain.disqualifying_modifiers) == (False, ())
