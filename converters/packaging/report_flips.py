"""Flags that are not the source's, image by image, with what either model sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from converters.evaluation.agreement import SOURCE
from converters.evaluation.inference_on_labelled import LabelledInference
from converters.evaluation.verification import SourceEngine, source_inputs
from converters.packaging.report_pictures import picture_of, preview
from runtime.image.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from converters.evaluation.agreement import Agreement, Case
    from converters.evaluation.verification import Verification
    from models.manifest import Manifest, OperatingPoint

    Tensors = Mapping[str, NDArray[np.generic]]

MOST_FIGURES = 100
MOST_CHARACTERS = 3_000_000
"""Of all figures together, so that a report stays below 5 MB; the other flips are counted."""


@dataclass
class InputKeeper:
    """In an engine's place: keeps what it is asked, and has no model."""

    manifest: Manifest
    execution = SourceEngine.execution
    tensors: Tensors = field(default_factory=dict)

    def infer(self, tensors: Tensors) -> Prediction:
        """Scores of 0."""
        self.tensors = dict(tensors)
        scores = {port.score: 0.0 for port in self.manifest.outputs}
        return Prediction(scores=scores, execution=self.execution)


def flips_section(verification: Verification, manifest: Manifest) -> str:
    """Each precision's flips, lost positives first, as many as a report can hold."""
    points = {point.name: point for point in manifest.operating_points}
    figures, characters = MOST_FIGURES, MOST_CHARACTERS
    parts = ["<h2>Flags that are not the source's</h2>"]
    for agreement in verification.agreements:
        parts.append(f"<h3>{escape(agreement.precision)}</h3>")
        flipped = _flipped(agreement, verification)
        shown = 0
        for case in flipped:
            if figures <= 0 or characters <= 0:
                break
            at = [points[name] for name, keys in agreement.flips.items() if case.key in keys]
            figure = "".join(_figure(case, agreement.precision, at, verification, manifest))
            figures, characters, shown = figures - 1, characters - len(figure), shown + 1
            parts.append(figure)
        if len(flipped) > shown:
            parts.append(f"<p>{len(flipped) - shown} more.</p>")
        if not flipped:
            parts.append("<p>None.</p>")
    return "".join(parts)


def _flipped(agreement: Agreement, verification: Verification) -> list[Case]:
    """What to look at first: positives that lose most of their score, then the others."""
    keys = {key for flipped in agreement.flips.values() for key in flipped}
    found = {case.key: case for case in verification.cases if case.scores and case.key in keys}

    def gained(case: Case) -> float:
        return case.scores[agreement.precision] - case.scores[SOURCE]

    return sorted(
        found.values(),
        key=lambda case: (not case.positive, gained(case) if case.positive else -gained(case)),
    )


def _figure(
    case: Case,
    precision: str,
    points: list[OperatingPoint],
    verification: Verification,
    manifest: Manifest,
) -> Iterator[str]:
    """The image, and beside it each model's input, flags and score."""
    truth = "positive" if case.positive else "negative"
    pictures = "".join(preview(path) for path in case.paths)
    yield f"<figure class='flip'><div><b>image</b><br>{pictures}<br>{case.key}<br>{truth}</div>"
    seen = inputs_of(case, verification, manifest)
    for name, tensors in (
        (SOURCE, source_inputs(manifest, seen) if seen else {}),
        (precision, seen),
    ):
        pictures = "".join(picture_of(tensor) for tensor in tensors.values()) or "not made"
        score = case.scores[name]
        yield f"<div><b>what {escape(name)} sees</b><br>{pictures}<br>{score:.4f}"
        for point in points:
            flagged = score >= point.threshold
            word = "flagged" if flagged else "no flag"
            style = "pass" if flagged is case.positive else "fail"
            yield (
                f"<br><b class='{style}'>{word}</b> at {escape(point.name)} ({point.threshold:.4f})"
            )
        yield "</div>"
    yield "</figure>"


def inputs_of(case: Case, verification: Verification, manifest: Manifest) -> Tensors:
    """What the package's inputs were, by the way on which it was asked."""
    if case.subject is None:
        return {}
    keeper = InputKeeper(manifest)
    LabelledInference(manifest, {"": keeper}, verification.options).answer(case.subject)
    return keeper.tensors
