"""What a package's precisions say of the calibration images, and how far each is from FP32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.importing.graph_run import score_with
from converters.quantization.descriptor_summary import descriptor_summary
from models.histogram import ScoreHistogram
from models.manifest import Parity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.manifest import Manifest
    from runtime.image.descriptors import ImageDescriptors
    from runtime.inference.devices import Graph

    Prepared = Mapping[str, NDArray[np.generic]]

PARITY_IMAGES = 20
"""Scored by every precision. All images by all of them took as long as quantising."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Of the calibration images."""

    score: str
    """Name of the suspicion; in other roles than triage of the first output."""
    scores: tuple[float, ...]
    """0 to 1, of each image, by the precision that runs by default."""
    parity: tuple[Parity, ...]

    def histogram(self, label: str, images: Sequence[ImageDescriptors]) -> ScoreHistogram:
        """What `drift` compares a unit with: the scores, and what the images looked like."""
        counts = ScoreHistogram.of(self.score, list(self.scores), measured_on=label)
        return counts.model_copy(update={"descriptors": descriptor_summary(images)})


def precisions_on(
    calibration: Sequence[Prepared],
    manifest: Manifest,
    graphs: Mapping[str, Graph],
    exact: Graph,
    *,
    progress: Callable[[str, int], Callable[[int], None]],
) -> Calibrated:
    """The default precision scores all images, the others those that span its scores.

    PARITY_IMAGES of them, from its lowest score to its highest. What a precision costs in accuracy
    is not seen here but on labelled images (`verification`).

    Args:
        calibration: prepared inputs.
        manifest: of the package.
        graphs: by precision.
        exact: the unquantised graph at FP32.
        progress: makes a bar for a task of so many images.
    """

    def scores_by(graph: Graph, images: Sequence[Prepared], name: str) -> list[dict[str, float]]:
        bar = progress(name, len(images))
        scores = []
        for number, tensors in enumerate(images, start=1):
            scores.append(score_with(graph, manifest, tensors))
            bar(number)
        return scores

    shown = next((port for port in manifest.outputs if port.suspicion), manifest.outputs[0]).score
    default = manifest.default_precision
    every = scores_by(graphs[default], calibration, default)
    places = _spanning([scores[shown] for scores in every])
    images = [calibration[place] for place in places]
    plain = scores_by(exact, images, "fp32")
    known = {default: [every[place] for place in places]}
    return Calibrated(
        score=shown,
        scores=tuple(scores[shown] for scores in every),
        parity=tuple(
            Parity(
                precision=name,
                device="CPU",
                largest_score_difference=_furthest(
                    known.get(name) or scores_by(graph, images, name), plain
                ),
                images=len(images),
            )
            for name, graph in graphs.items()
        ),
    )


def _spanning(values: Sequence[float]) -> list[int]:
    """Places of at most PARITY_IMAGES of the values, evenly from the lowest to the highest."""
    ascending = np.argsort(values, kind="stable")
    steps = np.linspace(0, len(values) - 1, min(PARITY_IMAGES, len(values)))
    return sorted({int(ascending[round(step)]) for step in steps})


def _furthest(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> float:
    return max(
        (
            abs(one[score] - other[score])
            for one, other in zip(ours, theirs, strict=True)
            for score in one
        ),
        default=0.0,
    )
