"""A hospital's own scores as witness of the preparation, and what is likely behind a difference."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from converters.errors import BenchFaultError
from converters.evaluation.agreement import SOURCE
from converters.evaluation.suspects import suspects
from converters.labelled.image_reading import ImageRefusedError, read_image
from converters.labelled.reading_options import notes_of
from models.manifest import Recipe, Scope
from runtime.breast_gate.suitability import assess_pixels
from runtime.inference.devices import EngineFaultError
from runtime.inference.engine import scores_of
from runtime.preprocessing.preparation import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from converters.evaluation.agreement import Case
    from converters.evaluation.suspects import Steps
    from converters.importing.source_reading import Run
    from converters.labelled.labels import LabelledImage, Labels
    from converters.labelled.reading_options import EvaluationOptions
    from models.manifest import Manifest

TOLERANCE = 0.02
"""Scores that differ by no more agree: another decoder or resize moves the third digit."""
LOOKED_AT = 6
"""Images, those that differ most, by which suspects are tried."""
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An input as the recipe makes it, and as the best match does."""

    key: str
    ours: float
    theirs: float
    matched: float | None
    """The source's score of the best match's input."""
    inputs: tuple[NDArray[np.generic], ...] = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class ScoreWitness:
    """The source's scores behind our preparation against those of the hospital's pipeline."""

    images: int
    largest: float
    mean: float
    suspect: str = ""
    """The change of the recipe that comes nearest; "" where all agree, or none comes nearer."""
    suspect_mean: float = 0.0
    """Mean difference with that change, on the images that differ most."""
    looked_at_mean: float = 0.0
    """The same without it."""
    pairs: tuple[Pair, ...] = ()

    @property
    def agrees(self) -> bool:
        """Every image's score is the hospital's."""
        return self.largest <= TOLERANCE

    @property
    def sentence(self) -> str:
        """For people."""
        told = (
            f"preparation: on {self.images} images the score is at most {self.largest:.3f} from the"
            f" hospital's own, {self.mean:.3f} in the mean"
        )
        if self.agrees:
            return told
        if not self.suspect:
            return f"{told}; none of the usual suspects comes nearer"
        return (
            f"{told}; the best match is {self.suspect}: {self.suspect_mean:.3f} instead of"
            f" {self.looked_at_mean:.3f} where it differs most"
        )


def expected_scores(table: Path) -> dict[str, float]:
    """File -> score, of a CSV with the columns `file` and `score`.

    Raises:
        BenchFaultError: with file, line and field of what cannot be used.
    """
    found: dict[str, float] = {}
    faults: list[str] = []
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            missing = {"file", "score"} - set(reader.fieldnames or ())
            if missing:
                raise BenchFaultError([f"{table.name}: no column {c!r}" for c in sorted(missing)])
            for row in reader:
                word = (row.get("score") or "").strip()
                try:
                    score = float(word)
                except ValueError:
                    score = float("nan")
                if not 0.0 <= score <= 1.0:
                    told = f"score {word[:40]!r} is no number from 0 to 1"
                    faults.append(f"{table.name}, line {reader.line_num}: {told}")
                found[(row.get("file") or "").strip()] = score
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise BenchFaultError([f"{table.name}: {fault}"]) from fault
    if faults or not found:
        raise BenchFaultError(faults[:20] or [f"{table.name}: no scores"])
    return found


@dataclass(frozen=True, kw_only=True)
class LineUp:
    """Compares scores of one package with others', and tries changed recipes where they differ."""

    manifest: Manifest
    run_source: Run
    labels: Labels
    options: EvaluationOptions

    def witness(self, cases: Sequence[Case], expected: Mapping[str, float]) -> ScoreWitness:
        """The agreement, and the best match on the images that differ most.

        Args:
            cases: what the source said behind our preparation.
            expected: of `expected_scores`.

        Raises:
            BenchFaultError: no image that was assessed has an expected score.
        """
        images = {image.path: image for image in self.labels}
        known = [
            (case, images[case.paths[0]], expected[name])
            for case in cases
            if case.scores and len(case.paths) == 1
            if (name := self.labels.within(case.paths[0])) in expected
        ]
        if not known:
            raise BenchFaultError(["--expected: names no single image that was assessed"])
        known.sort(key=lambda one: -abs(one[0].scores[SOURCE] - one[2]))
        apart = [abs(case.scores[SOURCE] - theirs) for case, _, theirs in known]
        plain = ScoreWitness(images=len(known), largest=max(apart), mean=float(np.mean(apart)))
        if plain.agrees or self.manifest.scope is not Scope.VIEW:
            return plain
        return self._tried(plain, known[:LOOKED_AT])

    def _tried(
        self, plain: ScoreWitness, known: Sequence[tuple[Case, LabelledImage, float]]
    ) -> ScoreWitness:
        """`plain` with the best match."""
        steps = self.manifest.preparation.steps
        theirs = [score for _, _, score in known]
        ours = [case.scores[SOURCE] for case, _, _ in known]
        before = _mean_apart(ours, theirs)
        best_name, best, best_scores = "", before, list[float]()
        best_steps: Steps | None = None
        for name, changed in suspects(steps):
            scores = [self.score(image, changed) for _, image, _ in known]
            told = [score for score in scores if score is not None]
            if len(told) == len(known) and _mean_apart(told, theirs) < 0.5 * best:
                best_name, best, best_scores = name, _mean_apart(told, theirs), told
                best_steps = changed
        pairs = []
        for number, (case, image, expected) in enumerate(known[:SHOWN]):
            inputs = [self._input(image, steps)]
            inputs += [self._input(image, best_steps)] if best_steps is not None else []
            pairs.append(
                Pair(
                    key=case.key,
                    ours=ours[number],
                    theirs=expected,
                    matched=best_scores[number] if best_scores else None,
                    inputs=tuple(one for one in inputs if one is not None),
                )
            )
        return ScoreWitness(
            images=plain.images,
            largest=plain.largest,
            mean=plain.mean,
            suspect=best_name,
            suspect_mean=best,
            looked_at_mean=before,
            pairs=tuple(pairs),
        )

    def score(self, image: LabelledImage, steps: Steps) -> float | None:
        """The source's score behind these steps; None where they give none."""
        tensor = self._input(image, steps)
        if tensor is None:
            return None
        (port,) = self.manifest.inputs
        suspicion = next(output.score for output in self.manifest.outputs if output.suspicion)
        try:
            return scores_of(self.manifest, self.run_source({port.tensor: tensor}))[suspicion]
        except EngineFaultError:
            return None  # no score at all: not what the hospital's pipeline does

    def _input(self, image: LabelledImage, steps: Steps) -> NDArray[np.generic] | None:
        """What the whole recipe makes of an image."""
        recipe = Recipe(steps=steps)
        try:
            mammogram = read_image(image.path, notes_of(image, self.options))
            found = assess_pixels(mammogram, self.manifest.accepts, recipe)
            return prepare(found.mammogram or mammogram, recipe, breast=found.breast).tensor
        except (ImageRefusedError, ValueError):
            return None  # these steps cannot be carried out on it


def _mean_apart(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return float(np.abs(np.array(ours) - np.array(theirs)).mean())
