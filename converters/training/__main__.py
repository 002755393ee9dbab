"""`python -m converters.training --data DIR --out reference.onnx`: the reference model, again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from converters.training.data.annotations import ATTRIBUTES
from converters.training.data.dataset import Sample, load_lesions, load_views, missing_data
from converters.training.data.near_duplicates import find_twins
from converters.training.data.placing import read_places, write_places
from converters.training.data.split import is_validation, write_split
from converters.training.learning.settings import (
    TrainingSettings,
    TrainingSettingsError,
    load_settings,
)
from converters.training.learning.stages import (
    ResumeError,
    check_resumed,
    checkpoints,
    learn_coarse,
    learn_fine,
)
from converters.training.networks.cells import joined_cells, map_cells, pooled_logits
from converters.training.networks.coarse_network import CoarseNetwork, malignancy_alone
from converters.training.networks.export import export_onnx
from converters.training.networks.graph import Calibration, GraphSettings, SuspicionGraph
from converters.training.networks.network import LesionNetwork, with_heads
from converters.training.reporting.card_figures import Judged, write_figures
from converters.training.reporting.figures import (
    describe,
    file_scorer,
    graph_scorer,
    judge,
    labels_of,
    localisation,
    points_of,
)
from converters.training.reporting.validation import fit_platt
from converters.training.sampling.coarse_views import coarse_recipe, find_places, load_film
from converters.training.sampling.coarse_windows import CoarseView

HERE = Path(__file__).parent
VIEW_SETS = ("cdd-cesm-dm", "mini-mias")
ASSESSMENT_HEADS = ("assessment_3", "assessment_4")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The data, split by patient. `film_views` are research-only: they only ever validate.

    `coarse_film` are the film views of 1 mm per pixel, which only the coarse branch sees.
    """

    lesions: list[Sample]
    views: list[Sample]
    validation_lesions: list[Sample]
    validation_views: list[Sample]
    film_views: list[Sample]
    coarse_film: list[CoarseView]
    validation_coarse_film: list[CoarseView]


def load_parts(data: Path, settings: TrainingSettings, places: Path) -> Parts:
    """Read and split everything below `data` (see docs/bench/training.md for what is expected).

    The places of lesions in film views are read from `places`, or found and written there.
    """
    split = settings.split
    if not places.exists():
        print("finding the lesion crops in the film views: several minutes", flush=True)
        write_places(places, find_places(data))

    def halves(samples: list[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
        chosen = [is_validation(s.patient, share=share, seed=split.seed) for s in samples]
        pairs = list(zip(samples, chosen, strict=True))
        return [s for s, held in pairs if not held], [s for s, held in pairs if held]

    lesions, held_lesions = halves(load_lesions(data, settings.recipe), split.share)
    views, held_views = halves(load_views(data, "cdd-cesm-dm", settings.recipe), split.view_share)
    known = read_places(places)
    print(f"{len(known)} lesion crops have a place in a film view ({places})", flush=True)
    film = load_film(data, known, coarse_recipe(settings.recipe))
    held_film = [is_validation(v.patient, share=split.share, seed=split.seed) for v in film]
    has_film = (data / "mini-mias" / "labels.csv").exists()
    return Parts(
        lesions=lesions,
        views=views,
        validation_lesions=held_lesions,
        validation_views=held_views,
        film_views=load_views(data, "mini-mias", settings.recipe) if has_film else [],
        coarse_film=[v for v, held in zip(film, held_film, strict=True) if not held],
        validation_coarse_film=[v for v, held in zip(film, held_film, strict=True) if held],
    )


def record_split(parts: Parts, path: Path) -> None:
    """Write who trains and who validates, and print how many near-duplicates cross the line."""
    training: list[Sample | CoarseView] = [*parts.lesions, *parts.views, *parts.coarse_film]
    held: list[Sample | CoarseView] = [
        *parts.validation_lesions,
        *parts.validation_views,
        *parts.film_views,
        *parts.validation_coarse_film,
    ]
    rows = [(sample.data_set, sample.patient, "training") for sample in training]
    rows += [(sample.data_set, sample.patient, "validation") for sample in held]
    write_split(path, rows)
    twins = find_twins(training, held)
    print(f"training {len(training)}, validation {len(held)}, near-duplicates {len(twins)}")
    for twin in twins:
        print(f"  {twin.training} ~ {twin.validation}: {twin.bits} bits")


def calibrated(graph: SuspicionGraph, parts: Parts, settings: TrainingSettings) -> SuspicionGraph:
    """`graph` with Platt scaling on the validation parts whose licence lets them shape it."""
    samples = [*parts.validation_lesions, *parts.validation_views]
    cell_px = graph.network.cell_px
    maps = map_cells(joined_cells(graph), samples, settings.recipe, cell_px=cell_px)
    logits = pooled_logits(maps, settings.pooling)
    is_view = np.arange(len(samples)) >= len(parts.validation_lesions)
    slope, offset, view_offset = fit_platt(logits, labels_of(samples), is_view)
    calibration = Calibration(slope=slope, offset=offset, view_offset=view_offset)
    return graph.with_calibration(calibration)


def shipped_graph(
    network: LesionNetwork, coarse: CoarseNetwork, settings: TrainingSettings
) -> SuspicionGraph:
    """The graph with the heads that its score needs: the others only serve training."""
    detection = {0: 1.0} | {
        1 + ATTRIBUTES.index(name): settings.fusion.assessment_weight for name in ASSESSMENT_HEADS
    }
    return SuspicionGraph(
        with_heads(network, [{0: 1.0}, detection]),
        malignancy_alone(coarse),
        GraphSettings(
            pooling=settings.pooling,
            fusion=settings.fusion,
            evidence=settings.evidence,
            calibration=Calibration(),
        ),
        spacing_mm=settings.recipe.spacing_mm,
    )


def measure(
    graph: SuspicionGraph, path: Path, parts: Parts, settings: TrainingSettings
) -> tuple[dict[str, Any], dict[str, Judged]]:
    """All figures that go to reference.json: of crops by torch, of views by the file itself."""
    recipe, seed = settings.recipe, settings.split.seed
    cell_px, asked = graph.network.cell_px, asdict(settings.operating_points)
    scores, _ = judge(graph_scorer(graph), parts.validation_lesions, recipe, cell_px)
    judged = {"cbis-ddsm-lesions": Judged(samples=parts.validation_lesions, scores=scores)}
    figures: dict[str, Any] = {
        "cbis-ddsm-lesions": describe(parts.validation_lesions, scores, seed=seed)
    }
    by_file = file_scorer(path, recipe)
    views: list[Sample] = []
    all_hits = []
    for name, samples in (("cdd-cesm-dm", parts.validation_views), ("mini-mias", parts.film_views)):
        if samples:
            scores, hits = judge(by_file, samples, recipe, cell_px)
            judged[name] = Judged(samples=samples, scores=scores)
            points = points_of(samples, scores, **asked, measured_on=name)
            figures[name] = describe(samples, scores, seed=seed) | {
                "operating_points": points,
                "localisation": [
                    localisation(samples, scores, hits, p["threshold"]) for p in points
                ],
            }
            views += samples
            all_hits.append(hits)
    scores = np.concatenate([judged[name].scores for name in judged if name in VIEW_SETS])
    name = "all validation views"
    points = points_of(views, scores, **asked, measured_on=name)
    hits = np.concatenate(all_hits)
    figures[name] = describe(views, scores, seed=seed) | {
        "operating_points": points,
        "localisation": [localisation(views, scores, hits, p["threshold"]) for p in points],
    }
    return figures, judged


def _options(arguments: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m converters.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument("--settings", type=Path, default=HERE / "settings.toml")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="stages whose network lies beside OUT (OUT's name, .stages) are not learnt again",
    )
    parser.add_argument("--places", type=Path, help="of lesions in film views, as found before")
    parser.add_argument("--threads", type=int, default=2)
    return parser, parser.parse_args(arguments)


def _learnt(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[TrainingSettings, Parts, SuspicionGraph]:
    """Everything that is read, and what is learnt from it; ends with 2 where that cannot be."""
    if not options.out.name:
        parser.error(f"--out {options.out}: is no name of a file")
    folder, stages = options.out.parent, options.out.with_suffix(".stages")
    try:
        settings = load_settings(options.settings)
        if options.resume:
            check_resumed(stages, options.settings)
    except (TrainingSettingsError, ResumeError) as error:
        parser.error(str(error))
    if missing := missing_data(options.data):
        parser.error("\n".join(["--data lacks what training needs:", *missing]))
    if options.places is not None and not options.places.is_file():
        parser.error(f"--places {options.places}: no such file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = load_parts(options.data, settings, options.places or folder / "places.csv")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except LookupError as error:
        parser.error(f"--data {options.data}: a table without what is asked of it: {error!r}")
    record_split(parts, folder / "split.csv")
    # Only now: what an earlier run has learnt goes, unless it is resumed.
    kept = checkpoints(stages, options.settings, resume=options.resume)
    try:
        network = learn_fine(parts.lesions, parts.views, settings, kept)
        coarse = learn_coarse(parts.coarse_film, parts.views, settings, kept)
    except ResumeError as error:
        parser.error(str(error))
    return settings, parts, shipped_graph(network, coarse, settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, validate, export."""
    parser, options = _options(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    started = time.monotonic()
    settings, parts, learnt = _learnt(options, parser)
    graph = calibrated(learnt, parts, settings)
    calibration = graph.parts.calibration
    recipe = settings.recipe
    export_onnx(
        graph, options.out, rows_px=recipe.canvas_rows_px, columns_px=recipe.canvas_columns_px
    )
    figures, judged = measure(graph, options.out, parts, settings)
    reference = {
        "preparation": asdict(recipe) | {"box_px": recipe.box_px},
        "cell_px": graph.network.cell_px,
        "pooling": asdict(settings.pooling),
        "fusion": asdict(settings.fusion),
        "evidence": asdict(settings.evidence),
        "calibration": asdict(calibration) | {"temperature": 1 / calibration.slope},
        "figures": figures,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    text = json.dumps(reference, indent=1) + "\n"
    options.out.with_suffix(".json").write_text(text, encoding="utf-8")
    options.out.with_suffix(".md").write_text(write_figures(figures, judged), encoding="utf-8")
    for name, found in figures.items():
        for group, row in found["by"].items():
            print(name, group, row)


if __name__ == "__main__":
    main()
