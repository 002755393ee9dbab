"""Drift: chance does not alarm, a change does, and what changed is named."""

from __future__ import annotations

import random

import pytest

from models.descriptor_reference import Descriptor
from runtime.drift.score_drift import population_stability_index
from runtime.messages.payloads import (
    BaselineSource,
    DescriptorDriftPart,
    DescriptorPart,
    OtherCode,
)
from runtime.site.control_charts.drift_verdict import (
    Suspect,
    drift_verdict,
    own_baseline,
    psi_threshold,
)
from tests.support.site_units import SaidUnit

SAME = (40, 80, 40)
OTHER = (5, 30, 125)


def test_a_descriptor_of_a_later_version_is_told_and_accuses_nobody():
    """Its index stands among the others; scanner, patients and model are not judged by it."""
    later = said(CALM, BRIGHTNESS=SAME)
    by_name = later.descriptors.by_name | {OtherCode("sharpness"): part(OTHER)}
    changed = later.descriptors.model_copy(update={"by_name": by_name})
    verdict = drift_verdict(later.model_copy(update={"descriptors": changed}), None)
    assert [index.name for index in verdict.passed] == ["sharpness"]
    assert verdict.suspect is None


def part(counts) -> DescriptorPart:
    """A day's counts against a baseline of three bins."""
    return DescriptorPart(
        edges=(1.0, 2.0),
        labels=None,
        counts=counts,
        expected=SAME,
        psi=population_stability_index(SAME, counts),
    )


def said(histogram, **descriptors):
    """A day's message with some descriptors."""
    message = SaidUnit().drift(histogram=histogram).message
    if not descriptors:
        return message
    found = DescriptorDriftPart(
        baseline=BaselineSource.UNIT,
        baseline_images=160,
        baseline_needed=100,
        images=160,
        by_name={Descriptor[name]: part(counts) for name, counts in descriptors.items()},
    )
    return message.model_copy(update={"descriptors": found})


CALM = (30,) * 20
SHIFTED = (5,) * 10 + (55,) * 10


@pytest.mark.parametrize(
    ("histogram", "descriptors", "suspect"),
    [
        (CALM, {"BRIGHTNESS": SAME, "DENSITY": SAME}, None),
        (SHIFTED, {"BRIGHTNESS": OTHER, "DENSITY": OTHER}, Suspect.SCANNER),
        (CALM, {"PIXEL_SPACING": OTHER}, Suspect.SCANNER),
        (SHIFTED, {"MANUFACTURER": OTHER}, Suspect.SCANNER),
        (SHIFTED, {"BRIGHTNESS": SAME, "DENSITY": OTHER}, Suspect.POPULATION),
        (CALM, {"BREAST_AREA": OTHER}, Suspect.POPULATION),
        (SHIFTED, {"BRIGHTNESS": SAME, "DENSITY": SAME}, Suspect.MODEL),
        (SHIFTED, {}, Suspect.UNKNOWN),
    ],
)
def test_what_has_changed_is_named(histogram, descriptors, suspect):
    """The machine's descriptors, the women's, or only the scores."""
    verdict = drift_verdict(said(histogram, **descriptors), CALM)
    assert verdict.suspect is suspect
    assert bool(verdict.passed) == (suspect is not None)


def test_chance_alone_hardly_ever_passes_the_threshold():
    """Days of 160 images from the baseline's own distribution: fewer than one in 200 alarms."""
    rng = random.Random(4)
    weights = [20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 2, 1, 1, 1, 1, 1, 0.5, 0.3, 0.2]

    def day(images) -> tuple[int, ...]:
        counts = [0] * 20
        for place in rng.choices(range(20), weights, k=images):
            counts[place] += 1
        return tuple(counts)

    baseline = day(800)
    alarms = sum(drift_verdict(said(day(160)), baseline).suspect is not None for _ in range(400))
    assert alarms <= 2


def test_few_images_need_a_larger_index():
    """The threshold is 0.25, or more where chance does more."""
    assert psi_threshold(20, 5000, 5000) == 0.25
    assert psi_threshold(20, 60, 400) > 0.5


def test_the_baseline_is_the_units_own_first_days():
    """As many days as make enough images, and no more."""
    assert own_baseline([(5,) * 20] * 3) is None
    total, days = own_baseline([(5,) * 20] * 9)
    assert (sum(total), days) == (400, 4)
