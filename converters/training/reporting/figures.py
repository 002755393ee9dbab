"""The shipped graph's figures on the validation part, as reference.json holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray

from converters.training.data.dataset import Sample
from converters.training.data.preparation import Picture, PreparationOptions
from converters.training.networks.cells import normalise_sample
from converters.training.networks.graph import SuspicionGraph
from converters.training.reporting.validation import (
    Interval,
    ValidatedPoint,
    bootstrap_auc,
    brier,
    operating_points,
    point_at,
)

RELIABILITY_BINS = 10


Scorer = Callable[[Picture], tuple[float, Picture]]
"""Prepared view to suspicion (0..1) and evidence map."""


def graph_scorer(graph: SuspicionGraph) -> Scorer:
    """The torch graph: takes any whole number of cells, so small pictures cost little."""
    graph.eval()

    def score(view: Picture) -> tuple[float, Picture]:
        with torch.inference_mode():
            suspicion, evidence = graph(torch.from_numpy(view)[None, None])
        return float(suspicion), evidence[0, 0].numpy()

    return score


def file_scorer(path: Path, recipe: PreparationOptions) -> Scorer:
    """The exported file in OpenVINO, on its whole canvas, in float32."""
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", options)

    def score(view: Picture) -> tuple[float, Picture]:
        canvas = np.zeros((recipe.canvas_rows_px, recipe.canvas_columns_px), dtype=np.float32)
        # Whole cells may reach a little beyond the canvas; there is only padding there.
        part = view[: recipe.canvas_rows_px, : recipe.canvas_columns_px]
        canvas[: part.shape[0], : part.shape[1]] = part
        found = compiled({"view": canvas[None, None]})
        return float(found["suspicion"].item()), np.asarray(found["evidence"][0, 0])

    return score


def judge(
    score: Scorer, samples: Sequence[Sample], recipe: PreparationOptions, cell_px: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Suspicion (0..1) of each sample; whether the map's peak is a hit.

    A hit: the evidence map's highest cell has its centre inside a known lesion.
    """
    scores, hits = [], []
    for sample in samples:
        suspicion, grid = score(normalise_sample(sample.picture, recipe, cell_px))
        scores.append(suspicion)
        row, column = np.unravel_index(grid.argmax(), grid.shape)
        centre = (row + 0.5) * cell_px, (column + 0.5) * cell_px
        hits.append(any(lesion.holds(*centre) for lesion in sample.lesions))
    return np.array(scores), np.array(hits, dtype=np.bool_)


def labels_of(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """True where malignant."""
    return np.array([sample.is_malignant for sample in samples], dtype=np.bool_)


def describe(
    samples: Sequence[Sample], scores: NDArray[np.float64], *, seed: int
) -> dict[str, Any]:
    """AUC with a 95 % interval by patients, of all samples and of each subgroup; Brier score.

    A subgroup that names a kind of abnormality of a view is compared with all views that are not
    malignant, since a normal view has no kind.
    """
    labels = labels_of(samples)
    patients = [sample.patient for sample in samples]
    groups: dict[str, NDArray[np.bool_]] = {"all": np.ones(len(samples), dtype=np.bool_)}
    for name in sorted({name for sample in samples for name in sample.subgroups}):
        members = np.array([name in sample.subgroups for sample in samples])
        if labels[members].any() and not labels[members].all():
            groups[name] = members
    rows: dict[str, Any] = {}
    for name, members in groups.items():
        chosen = [patient for patient, member in zip(patients, members, strict=True) if member]
        auc = bootstrap_auc(scores[members], labels[members], chosen, seed=seed)
        rows[name] = {
            "n": int(members.sum()),
            "positives": int(labels[members].sum()),
            "auc": _rounded(auc),
        }
    return {
        "by": rows,
        "brier": round(brier(scores, labels), 4),
        "reliability": reliability(scores, labels),
    }


def reliability(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Mean score against share of positives, in ten bins of equal size."""
    return [
        {
            "n": len(chosen),
            "mean_score": round(float(scores[chosen].mean()), 4),
            "share_malignant": round(float(labels[chosen].mean()), 4),
        }
        for chosen in np.array_split(np.argsort(scores), RELIABILITY_BINS)
        if len(chosen)
    ]


def points_of(
    samples: Sequence[Sample],
    scores: NDArray[np.float64],
    *,
    high_sensitivity: float,
    high_specificity: float,
    measured_on: str,
) -> list[dict[str, Any]]:
    """Operating points as the manifest holds them; `by` has those of each data set."""
    labels = labels_of(samples)
    sets = [sample.data_set for sample in samples]
    points = operating_points(
        scores, labels, sets, high_sensitivity=high_sensitivity, high_specificity=high_specificity
    )
    return [
        _point_row(point)
        | {
            "measured_on": measured_on,
            "by": {
                name: _point_row(_at(point, name, sets, scores, labels))
                for name in sorted(set(sets))
            },
        }
        for point in points
    ]


def _at(
    point: ValidatedPoint,
    name: str,
    sets: Sequence[str],
    scores: NDArray[np.float64],
    labels: NDArray[np.bool_],
) -> ValidatedPoint:
    members = np.array(sets) == name
    return point_at(point.name, point.threshold, scores[members], labels[members])


def _point_row(point: ValidatedPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "threshold": round(point.threshold, 5),
        "sensitivity": _rounded(point.sensitivity),
        "specificity": _rounded(point.specificity),
    }


def localisation(
    samples: Sequence[Sample],
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_],
    threshold: float,
) -> dict[str, float]:
    """Share of flagged malignant views with a known place whose peak falls inside it."""
    known = np.array([bool(s.lesions) and s.is_malignant for s in samples], dtype=np.bool_)
    flagged = known & (scores >= threshold)
    return {
        "threshold": round(threshold, 5),
        "flagged": int(flagged.sum()),
        "hits": int((flagged & hits).sum()),
        "malignant_with_place": int(known.sum()),
        "hits_of_all": int((known & hits).sum()),
    }


def _rounded(interval: Interval) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(interval).items()}
