"""Draws the two pictures of README and docs anew: the console, and the fleet page.

`python -m benches.pictures`: invented exams and units on the benches of the pages' own tests, in
Debian's Chromium. Previews are of synthetic breasts; accession numbers say that they are invented.
Writes docs/images/console.png and docs/images/fleet-page.png; exit code 1 if one is too large.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from firmware_bridge.simulated_exams.exam_source import phantom_templates
from firmware_bridge.simulated_exams.vendor_shapes import HOLOGIC
from runtime.dicom.stored_image import open_image
from runtime.image.outcome import ViewOutcome, ViewResult
from runtime.image.reasons import Reason
from runtime.messages.payloads import ModelPart, StatusFacts
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.preview import write_preview
from tests.conftest import ROOT
from tests.runtime.console.bench import ConsoleBench, now_ms
from tests.runtime.site.page.bench import FleetBench, drift_of
from tests.support.browser import chromium
from tests.support.builders import result, unassessed

IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 200_000
MINUTE_MS = 60_000
PATIENCE_MS = 30_000

FACTS = StatusFacts(
    model=ModelPart(name="mammoedge-reference", version="0.4.0"),
    versions={"mammoedge": "0.1.0"},
    requested_device="CPU",
    actual_device="CPU",
)
JUDGED, RAISED = result(0.12), result(0.81)
EARLIER = (  # minutes ago, and what became of the four views
    (58, (JUDGED, JUDGED, JUDGED, JUDGED)),
    (47, (JUDGED, JUDGED, RAISED, JUDGED)),
    (36, (JUDGED, unassessed(Reason.IMPLANT), JUDGED, JUDGED)),
    (24, (JUDGED, JUDGED, JUDGED, JUDGED)),
    (13, (JUDGED, JUDGED, JUDGED, JUDGED)),
)
CURRENT = {
    "RCC": JUDGED,
    "LCC": RAISED,
    "RMLO": unassessed(Reason.UNDECODABLE),
    "LMLO": result(0.74),
}


def console_picture(browser: object, folder: Path) -> None:
    """A priority exam with a view that could not be judged, and five exams before it."""
    (phantoms,) = phantom_templates(folder, [HOLOGIC], scale=0.5, randomness=Random(7))
    bench = ConsoleBench(folder, identity=("accession_number", "study_time"))
    bench.status = FACTS
    try:
        for number, (minutes_ago, outcomes) in enumerate(EARLIER, 1):
            bench.ahead_ms = -minutes_ago * MINUTE_MS
            for view, outcome in zip(CURRENT, outcomes, strict=True):
                bench.receive(f"1.2.{number}", view, accession=f"DEMO-{number:03}")
                bench.judge(outcome)
            if RAISED in outcomes:
                bench.ahead_ms += 2 * MINUTE_MS
                bench.acknowledgement.acknowledge(bench.message_factory.exam_key(f"1.2.{number}"))
        images = 4 * len(EARLIER)
        bench.ahead_ms = -MINUTE_MS
        for number, (view, outcome) in enumerate(CURRENT.items(), images + 1):
            bench.receive("1.2.99", view, accession="DEMO-006")
            bench.judge(_with_preview(outcome, phantoms.files[view], folder / f"{number}.dcm"))
        bench.ahead_ms = 0
        bench.console.start()
        page = _page(browser, bench.url, height=720)
        page.locator("#exam .flag .word").wait_for(timeout=PATIENCE_MS)
        _save(page, "console.png")
    finally:
        bench.close()


def _with_preview(outcome: ViewOutcome, phantom: Path, spooled: Path) -> ViewOutcome:
    """What the worker adds to an image that it could decode."""
    if not isinstance(outcome, ViewResult):
        return outcome
    return replace(
        outcome, artefacts=(write_preview(spooled, load_mammogram(open_image(phantom))),)
    )


def fleet_picture(browser: object, folder: Path) -> None:
    """Seven units: one with a risen rate, one short of room, five in order."""
    bench = FleetBench(folder)
    draw = Random(3)
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(now_ms() / 1000 - 86_400))
    try:
        for number in range(1, 8):
            name = f"mammo-{number}"
            bench.born(name, reasons=("disk_low",) if number == 4 else ())
            bench.chart(name, "priority", 0.06)
            bench.chart(name, "not_assessed", 0.03)
            bench.hear(drift_of(bench.unit(name), yesterday, draw, at_ms=bench.clock_ms() - 100))
        for number, counts in enumerate(
            ((2, 21, 1), (1, 18, 0), (3, 30, 1), (1, 25, 2), (9, 22, 1), (2, 27, 0), (1, 16, 1)), 1
        ):
            priority, none, not_assessed = counts
            bench.exams(f"mammo-{number}", priority=priority, none=none, not_assessed=not_assessed)
        bench.alarm(
            "mammo-5",
            "rate_risen",
            severity="critical",
            subject="priority",
            count=9,
            exams=32,
            share="28 %",
            baseline="6 %",
        )
        bench.page.start()
        page = _page(browser, bench.url, height=640)
        page.locator("#well > li").first.wait_for(timeout=PATIENCE_MS)
        _save(page, "fleet-page.png")
    finally:
        bench.close()


def _page(browser: object, url: str, *, height: int) -> object:
    size = {"width": 1280, "height": height}
    page = browser.new_context(viewport=size, locale="en-GB").new_page()
    page.goto(url)
    return page


def _save(page: object, name: str) -> None:
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(500)
    page.screenshot(path=str(IMAGES / name), full_page=True)


def main() -> int:
    """Draws both; 1 if one is larger than a page should carry."""
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        for draw in (console_picture, fleet_picture):
            with tempfile.TemporaryDirectory() as folder:
                draw(browser, Path(folder))
    sizes = {file.name: file.stat().st_size for file in sorted(IMAGES.glob("*.png"))}
    for name, size in sizes.items():
        print(f"docs/images/{name}: {size / 1000:.0f} kB")
    return int(any(size > MOST_BYTES for size in sizes.values()))


if __name__ == "__main__":
    sys.exit(main())
