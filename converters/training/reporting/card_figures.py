"""The part of the model card that the figures write: tables, reliability, failures as pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.packaging.svg_plots import Curve, curves
from converters.training.data.dataset import Sample
from converters.training.data.preparation import Picture
from converters.training.reporting.figures import labels_of

SHOWN_SETS = ("cbis-ddsm-lesions", "cdd-cesm-dm")
"""Licences that allow pictures in a package (CC BY); mini-MIAS may not be passed on."""
OF_EACH_KIND = 4
PICTURE_PX = 160
JPEG_QUALITY = 70


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A validation set with its scores, 0..1."""

    samples: Sequence[Sample]
    scores: NDArray[np.float64]


def write_figures(figures: Mapping[str, Any], judged: Mapping[str, Judged]) -> str:
    """Markdown: subgroups with intervals, operating points by technique, reliability, failures."""
    return "\n".join(
        [
            *_subgroups(figures),
            *_points(figures["all validation views"]["operating_points"]),
            *_reliability(figures),
            *_failures(judged),
            "",
        ]
    )


def _figure(row: Mapping[str, float], digits: int = 3) -> str:
    return f"{row['value']:.{digits}f} ({row['low']:.{digits}f}-{row['high']:.{digits}f})"


def _subgroups(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        "### Subgroups (AUC, malignant against the rest, 95 % interval by patients)",
        "",
        "| set | subgroup | n (malignant) | AUC |",
        "|---|---|---|---|",
    ]
    for name, found in figures.items():
        lines += [
            f"| {name} | {group} | {row['n']} ({row['positives']}) | {_figure(row['auc'])} |"
            for group, row in found["by"].items()
        ]
    return [*lines, ""]


def _points(points: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "### Operating points by technique",
        "",
        "| point | threshold | set | sensitivity | specificity |",
        "|---|---|---|---|---|",
    ]
    for point in points:
        lines += [
            f"| {point['name']} | {point['threshold']:.3f} | {name}"
            f" | {_figure(row['sensitivity'], 2)} | {_figure(row['specificity'], 2)} |"
            for name, row in point["by"].items()
        ]
    return [*lines, ""]


def _reliability(figures: Mapping[str, Any]) -> list[str]:
    series = [
        Curve(
            name=f"{name} (Brier {found['brier']:.3f})",
            points=[(row["mean_score"], row["share_malignant"]) for row in found["reliability"]],
        )
        for name, found in figures.items()
        if name != "all validation views"
    ]
    plot = curves(
        [Curve(name="a perfect probability", points=[(0, 0), (1, 1)]), *series],
        "mean score of a tenth of the images",
        "share that is malignant",
    )
    data = _embedded("image/svg+xml", plot.encode())
    return ["### Reliability", "", f"![Score against share of cancers]({data})", ""]


def _failures(judged: Mapping[str, Judged]) -> list[str]:
    lines = ["### Failures", ""]
    for name in SHOWN_SETS:
        if name not in judged:
            continue
        labels, scores = labels_of(judged[name].samples), judged[name].scores
        missed = np.flatnonzero(labels)[np.argsort(scores[labels])][:OF_EACH_KIND]
        alarms = np.flatnonzero(~labels)[np.argsort(-scores[~labels])][:OF_EACH_KIND]
        for title, chosen in (
            ("malignant, scored lowest", missed),
            ("rest, scored highest", alarms),
        ):
            pictures = [judged[name].samples[int(index)].picture for index in chosen]
            strip = np.hstack([_thumbnail(picture) for picture in pictures])
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            data = _embedded("image/jpeg", cv2.imencode(".jpg", strip, quality)[1].tobytes())
            listed = ", ".join(f"{scores[int(index)]:.2f}" for index in chosen)
            lines += [f"{name}, {title} ({listed}):", "", f"![{title}]({data})", ""]
    return lines


def _thumbnail(picture: Picture) -> NDArray[np.uint8]:
    """The picture in a square of PICTURE_PX, as bytes."""
    scale = PICTURE_PX / max(picture.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
    square = np.zeros((PICTURE_PX, PICTURE_PX), dtype=np.uint8)
    part = np.clip(small[:PICTURE_PX, :PICTURE_PX] * 255, 0, 255)
    square[: part.shape[0], : part.shape[1]] = part.astype(np.uint8)
    return square


def _embedded(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
