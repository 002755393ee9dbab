"""What an image looks like: measured on pixels whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.simulated_exams.phantom_breast import PhantomBreast
from firmware_bridge.simulated_exams.phantom_image import presentation
from firmware_bridge.simulated_exams.vendor_shapes import HOLOGIC
from runtime.breast_gate.breast import find_breast
from runtime.breast_gate.descriptor_measuring import describe
from runtime.image.descriptors import Manufacturer, manufacturer_of
from runtime.image.outcome import ImageOutcome, JobOutcome
from runtime.pixels.mammogram import Mammogram
from runtime.worker.protocol import FROM_WORKER, Done
from tests.support.builders import header, result
from tests.support.synthetic import breast_pixels

PIXELS = breast_pixels(rows=600, columns=480)


def mammogram(pixels, *, spacing=(0.2, 0.2), monochrome1=False, maker="HOLOGIC, Inc."):
    return Mammogram(
        header=replace(header("LCC"), manufacturer=maker),
        pixels=pixels,
        bits_stored=12,
        monochrome1=monochrome1,
        pixel_spacing_mm=spacing,
    )


def described(image):
    breast = find_breast(image.pixels, monochrome1=image.monochrome1, bits_stored=12)
    assert breast is not None
    return describe(image, breast)


def test_a_brighter_scanner_changes_brightness_and_not_density():
    """A linear change of gray moves one and leaves the other."""
    plain = described(mammogram(PIXELS))
    brighter = described(mammogram((PIXELS * 0.5 + 300).astype(np.uint16)))
    assert 0.02 < plain.brightness < 1
    assert brighter.brightness == pytest.approx(plain.brightness * 0.5 + 300 / 4095, abs=0.01)
    assert brighter.density == pytest.approx(plain.density, abs=0.02)


def test_inverted_pixels_describe_the_same_breast():
    """MONOCHROME1 is a way of writing, not another image."""
    plain = described(mammogram(PIXELS))
    inverted = described(mammogram((4095 - PIXELS).astype(np.uint16), monochrome1=True))
    assert inverted.brightness == pytest.approx(plain.brightness, abs=0.01)
    assert inverted.density == pytest.approx(plain.density, abs=0.02)


def test_the_area_is_in_square_centimetres():
    """Half the spacing is a quarter of the area; without a spacing there is none."""
    area = described(mammogram(PIXELS)).breast_area_cm2
    whole = PIXELS.size * 0.2 * 0.2 / 100
    assert 0.1 * whole < area < whole
    assert described(mammogram(PIXELS, spacing=(0.1, 0.1))).breast_area_cm2 == pytest.approx(
        area / 4
    )
    assert described(mammogram(PIXELS, spacing=None)).breast_area_cm2 is None


def test_a_denser_breast_has_a_higher_density():
    """The mean of eight phantoms with much glandular tissue is above that of eight with little."""
    detector = HOLOGIC.detector.scaled(0.1)

    def mean_density(glandular):
        breasts = (
            PhantomBreast(laterality="L", view="CC", density=glandular, seed=seed)
            for seed in range(8)
        )
        images = (mammogram(presentation(one.expose(detector), 12)) for one in breasts)
        return float(np.mean([described(image).density for image in images]))

    assert mean_density(0.15) < mean_density(0.35) < mean_density(0.6)


@pytest.mark.parametrize(
    ("name", "maker"),
    [("HOLOGIC, Inc.", Manufacturer.HOLOGIC), ("Lorad, A Hologic Company", Manufacturer.HOLOGIC),
     ("GE MEDICAL SYSTEMS", Manufacturer.GE), ("GE", Manufacturer.GE), ("GEMS", Manufacturer.GE),
     ("SIEMENS", Manufacturer.SIEMENS), ("Siemens Healthineers", Manufacturer.SIEMENS),
     ("FUJIFILM Corporation", Manufacturer.FUJIFILM), ("Gerät Nr. 4711", Manufacturer.OTHER),
     ("St. Anna 0815", Manufacturer.OTHER), ("", Manufacturer.UNKNOWN)],
)  # fmt: skip
def test_a_maker_is_one_of_a_closed_list(name, maker):
    """What a hospital wrote into the field, a serial number say, goes no further than the unit."""
    assert manufacturer_of(name) is maker


def test_descriptors_travel_from_the_worker():
    """They survive the way through JSON, and a figure out of range is no answer."""
    image = mammogram(PIXELS)
    outcome = ImageOutcome(image_id=1, outcome=result(0.1), descriptors=described(image))
    done = Done(outcome=JobOutcome(job_id=1, images=(outcome,)))
    assert FROM_WORKER.validate_json(FROM_WORKER.dump_json(done)) == done
    damaged = FROM_WORKER.dump_json(done).replace(b'"density":', b'"density":7')
    with pytest.raises(ValueError, match="density"):
        FROM_WORKER.validate_json(damaged)
