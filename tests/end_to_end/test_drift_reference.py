"""A package made anew says what images look like: drift has a reference on the first day."""

from __future__ import annotations

import json

from models.package import load_package
from runtime.exams.exam_service import DRIFT_NOTE
from runtime.ledger.ledger import Ledger
from tests.conftest import module_or_skip
from tests.converters.conftest import RECIPE, save_onnx
from tests.end_to_end.conftest import mammoedge, wait_for_final
from tests.support.exams import write_exam
from tests.support.waiting import wait_until

DAY_MS = 24 * 3600 * 1000
EXAMS = 14
SMALL = {"rows": 320, "columns": 256, "pixel_spacing_mm": 0.3}


def make_package(folder):
    """`mammoedge package` with calibration images of one maker."""
    module_or_skip("onnx", "extra [convert] is not installed")
    for seed in range(EXAMS):
        write_exam(folder / "calibration", seed, manufacturer="HOLOGIC, Inc.", **SMALL)
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.replace('["fp16", "int8"]', '["fp16"]'))
    done = mammoedge(
        *("package", save_onnx(folder / "tiny.onnx"), "--recipe", recipe),
        *("--calibration", folder / "calibration", "-o", folder / "tiny-1.0.0"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "tiny-1.0.0"


def a_day_passes(unit):
    """What is in the ledger of a unit that does not run happened a day earlier."""

    def earlier(tx):
        tx.shift_times(-DAY_MS)
        tx.set_meta(DRIFT_NOTE, "")

    ledger = Ledger(unit.folder / "data" / "ledger.db")
    try:
        ledger.transact(earlier)
    finally:
        ledger.close()


def test_a_new_unit_compares_with_the_packages_reference(story, tmp_path):
    """Images of another maker on the first day: the index says so, without a baseline of ours."""
    made = make_package(tmp_path)
    packaged = load_package(made, allow_unsigned=True).score_histogram().descriptors
    assert packaged.images == 4 * EXAMS
    story.broker.start()
    unit = story.unit(package=made, precision="fp16").start().wait_listening()
    subscriber = story.subscriber()
    exams = [
        write_exam(tmp_path / "sent", 100 + seed, manufacturer="SIEMENS", **SMALL)
        for seed in range(EXAMS)
    ]
    sent = mammoedge("send", tmp_path / "sent", "--to", unit.address)
    assert sent.returncode == 0, sent.stderr
    for exam in exams:
        wait_for_final(subscriber, exam.study_uid, unit)
    assert unit.stop() == 0
    a_day_passes(unit)
    unit.start()
    records = subscriber.once
    wait_until(lambda: any(r.topic == "drift" for r in records().values()), "drift")
    said = next(r.body for r in records().values() if r.topic == "drift")["descriptors"]
    assert (said["baseline"], said["baseline_images"]) == ("package", 4 * EXAMS)
    assert said["images"] == 4 * EXAMS
    by_name = said["by_name"]
    assert by_name["manufacturer"]["psi"] > 0.25
    assert by_name["pixel_spacing_mm"]["psi"] < 0.1
    assert set(by_name) == {name.value for name in packaged.bins}
    assert json.loads((made / "reference.json").read_text())["descriptors"]["images"] == 4 * EXAMS
