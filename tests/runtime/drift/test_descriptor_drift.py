"""Drift of what images look like: a changed scanner is told from a changed population."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date

import pytest

from models.descriptor_reference import MOST_BINS, Descriptor, DescriptorBins
from models.histogram import ScoreHistogram
from runtime.drift.descriptor_drift import compare, reference_of
from runtime.drift.settings import DriftSettings
from runtime.image.descriptors import ImageDescriptors, Manufacturer
from runtime.image.outcome import ImageOutcome, JobOutcome
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import PAYLOAD_LIMIT_BYTES, DriftMessage
from tests.runtime.exams.test_exam_service import DAY_MS, Bench
from tests.support.builders import forget_exams, result

REFERENCE = ScoreHistogram(score="suspicion", counts=(5, 5), images=10)
FEW = DriftSettings(baseline_images=60)


def images(count, *, seed=1, **changes):
    """Images of one scanner and one population."""
    draw = random.Random(seed)
    plain = [
        ImageDescriptors(
            brightness=draw.uniform(0.3, 0.5),
            breast_area_cm2=draw.uniform(60, 220),
            density=draw.betavariate(2, 5),
            pixel_spacing_mm=(0.07, 0.07),
            manufacturer=Manufacturer.HOLOGIC,
        )
        for _ in range(count)
    ]
    return [replace(one, **changes) for one in plain]


def psi(reference, day):
    return {name: part.psi for name, part in compare(reference, day).items()}


def test_an_ordinary_day_has_a_small_index_everywhere():
    """A thousand images like those of the baseline."""
    found = psi(reference_of(images(1000)), images(1000, seed=2))
    assert set(found) == set(Descriptor)
    assert max(found.values()) < 0.1


def test_a_new_scanner_shows_where_scanners_differ():
    """Maker, spacing and brightness far above 0.25; area and density as before."""
    day = [
        replace(
            one,
            brightness=one.brightness / 2,
            pixel_spacing_mm=(0.0941, 0.0941),
            manufacturer=Manufacturer.GE,
        )
        for one in images(1000, seed=2)
    ]
    found = psi(reference_of(images(1000)), day)
    assert min(found[name] for name in ("brightness", "pixel_spacing_mm", "manufacturer")) > 1
    assert max(found["breast_area_cm2"], found["density"]) < 0.1


def test_other_women_show_where_women_differ():
    """Denser, smaller breasts on the same scanner."""
    day = [
        replace(one, density=min(1.0, one.density * 1.8), breast_area_cm2=one.breast_area_cm2 * 0.6)
        for one in images(1000, seed=2)
    ]
    found = psi(reference_of(images(1000)), day)
    assert min(found["breast_area_cm2"], found["density"]) > 0.25
    assert max(found[name] for name in ("brightness", "pixel_spacing_mm", "manufacturer")) < 0.1


def test_a_constant_is_a_baseline_too():
    """A test phantom every day: no drift while it stays, drift when it moves either way."""
    reference = reference_of(images(100, brightness=0.4))
    assert psi(reference, images(100, brightness=0.4))["brightness"] == pytest.approx(0)
    for moved in (0.3, 0.5):
        assert psi(reference, images(100, brightness=moved))["brightness"] > 1


def test_images_without_a_spacing_have_no_area_and_say_so():
    """A word of its own among the spacings; nothing to count among the areas."""
    day = images(60, pixel_spacing_mm=None, breast_area_cm2=None)
    parts = compare(reference_of(images(60)), day)
    assert parts[Descriptor.PIXEL_SPACING].labels == ("0.070", "unknown")
    assert parts[Descriptor.PIXEL_SPACING].counts == (0, 60)
    assert sum(parts[Descriptor.BREAST_AREA].counts) == 0
    assert parts[Descriptor.BREAST_AREA].psi is None


def test_a_thousand_spacings_are_few_words():
    """A sender that makes spacings up fills neither the payload nor the ledger's note."""
    wild = [
        replace(one, pixel_spacing_mm=(0.01 + n / 1000, 5.0 + n / 1000))
        for n, one in enumerate(images(1000))
    ]
    for reference, day in ((reference_of(wild), wild), (reference_of(images(60)), wild)):
        part = compare(reference, day)[Descriptor.PIXEL_SPACING]
        assert len(part.labels) <= MOST_BINS // 2 + 1
        assert sum(part.counts) == 1000


@pytest.mark.parametrize(
    "wrong",
    [{"counts": (1,)}, {"edges": (1.0,), "labels": ("a",), "counts": (1, 1)},
     {"edges": (2.0, 1.0), "counts": (1, 1, 1)}, {"labels": ("a", "a"), "counts": (1, 1)},
     {"edges": (1.0,), "counts": (1,)}],
)  # fmt: skip
def test_bins_that_contradict_themselves_are_refused(wrong):
    """A package's reference.json is checked before it is believed."""
    with pytest.raises(ValueError, match="Bins"):
        DescriptorBins(**wrong)


class Unit(Bench):
    """A unit that is fed images with descriptors."""

    def day(self, descriptors, settings=FEW):
        """A day's images, one exam each; the drift message of the morning after."""
        for one in descriptors:
            self.count = getattr(self, "count", 0) + 1
            self.receive("RCC", study=f"1.2.{self.count}", sop=f"1.3.{self.count}")
            job = self.next_job().job
            outcome = ImageOutcome(
                image_id=job.images[0].image_id, outcome=result(0.1), descriptors=one
            )
            self.exam_service.record(JobOutcome(job_id=job.job_id, images=(outcome,)))
        self.now_ms += DAY_MS
        assert self.exam_service.publish_drift(self.reference, settings)
        row = [row for row in self.ledger.waiting(10_000) if row.kind == "drift"][-1]
        assert len(row.payload) < PAYLOAD_LIMIT_BYTES / 2
        DriftMessage.model_validate_json(row.payload)
        return json.loads(row.payload).get("descriptors")

    reference = REFERENCE


@pytest.fixture
def unit(tmp_path):
    unit = Unit(tmp_path)
    yield unit
    unit.ledger.close()


def test_a_unit_gathers_its_own_baseline_and_says_so(unit):
    """Until it is complete nothing is compared; then later days are, with the same baseline."""
    first = unit.day(images(40))
    assert (first["baseline"], first["baseline_images"], first["baseline_needed"]) == (
        "unit", 40, 60,
    )  # fmt: skip
    assert first["by_name"] == {}
    second = unit.day(images(60, seed=2))
    assert second["baseline_images"] == 60
    changed = unit.day(images(60, seed=3, manufacturer=Manufacturer.GE))
    maker = changed["by_name"]["manufacturer"]
    assert (maker["labels"], maker["counts"], maker["expected"]) == (
        ["hologic", "ge"], [0, 60], [60, 0],
    )  # fmt: skip
    assert maker["psi"] > 1


def test_a_baseline_outlives_a_restart_and_the_records_it_was_made_of(unit, tmp_path):
    """It is a note of the ledger; the images' own rows go with their exams."""
    unit.day(images(60))
    assert unit.exam_service.time_out_idle() == 60
    unit.ledger.transact(forget_exams, unit.now_ms + 1)
    assert unit.ledger.transact(lambda tx: tx.descriptors.first(1, 0)) == []
    unit.ledger.close()
    unit.ledger = Ledger(tmp_path / "ledger.db")
    assert '"images":60' in unit.ledger.transact(lambda tx: tx.meta("descriptor_baseline"))


def test_a_site_begins_a_new_baseline_after_a_change(unit):
    """`baseline_since`: the images from that day on are what the next ones are compared with."""
    unit.day(images(60))
    anew = DriftSettings(baseline_images=60, baseline_since=date(1970, 1, 2))
    found = unit.day(images(60, manufacturer=Manufacturer.GE), anew)
    assert (found["baseline_since"], found["baseline_images"]) == ("1970-01-02", 60)
    assert found["by_name"]["manufacturer"]["psi"] == pytest.approx(0)


def test_a_packages_own_descriptors_come_first(unit):
    """Where reference.json has them, the day is compared with them from the first image on."""
    unit.reference = REFERENCE.model_copy(update={"descriptors": reference_of(images(80))})
    unit.reference = ScoreHistogram.model_validate_json(unit.reference.model_dump_json())
    found = unit.day(images(60, seed=2))
    assert (found["baseline"], found["baseline_images"]) == ("package", 80)
    assert set(found["by_name"]) == set(Descriptor)


def test_a_day_without_descriptors_is_said_as_before(unit):
    """A unit whose images were all unreadable says what older software said."""
    assert unit.day([None]) is None
