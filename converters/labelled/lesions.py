"""Where an evaluation set says that a lesion lies, and whether an evidence map's peak is there."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models.preparation_recipe import ResizeStep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.manifest import OperatingPoint
    from models.preparation_recipe import Recipe
    from runtime.preprocessing.model_input import ModelInput

COLUMNS = ("lesion_y_px", "lesion_x_px", "lesion_radius_px")


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A circle on an image; row and column of its centre, from 0 at the top left.

    Places are continuous, as in `ModelInput.to_source`: pixel i reaches from i to i + 1.
    """

    row_px: float
    column_px: float
    radius_px: float

    def holds(self, row_px: float, column_px: float) -> bool:
        """Whether a place of the image lies inside it."""
        return math.hypot(row_px - self.row_px, column_px - self.column_px) <= self.radius_px


def lesion_of(row: Mapping[str, str]) -> Lesion | None:
    """The lesion of a row of the CSV, on the stored image; None without a place, or not all of it.

    Raises:
        ValueError: which column holds no finite number, or a radius that is not above 0.
    """
    words = [(row.get(column) or "").strip() for column in COLUMNS]
    if not all(words):
        return None
    figures = []
    for column, word in zip(COLUMNS, words, strict=True):
        try:
            figure = float(word)
        except ValueError:
            figure = math.nan
        if not math.isfinite(figure):
            raise ValueError(f"{column} {word[:40]!r} is no number")
        figures.append(figure)
    row_px, column_px, radius_px = figures
    if radius_px <= 0:
        raise ValueError(f"{COLUMNS[2]} {radius_px} is not above 0")
    return Lesion(row_px=row_px + 0.5, column_px=column_px + 0.5, radius_px=radius_px)


def peak_place(
    evidence: NDArray[np.float32], model_input: ModelInput, recipe: Recipe
) -> tuple[float, float]:
    """(row, column) of the image under the middle of the map's highest cell.

    Args:
        evidence: rows x columns of cells over the model's input.
        model_input: the input that the map is of.
        recipe: that made the input; its last resize says how large it is, else it is the box.
    """
    box = model_input.source_box
    height, width = box.rows, box.columns
    for step in recipe.steps:
        if isinstance(step, ResizeStep):
            height, width = step.height, step.width
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    rows, columns = evidence.shape
    return model_input.to_source((row + 0.5) * height / rows, (column + 0.5) * width / columns)


@dataclass(kw_only=True)
class PeakTally:
    """How often the peak of a positive image's map lies inside a known lesion of it."""

    points: InitVar[Sequence[OperatingPoint]]
    known: int = 0
    """Positive images whose lesion's place is known and that were assessed."""
    hits: int = 0
    flagged: dict[str, int] = field(init=False)
    """By operating point: those of `known` that it flags."""
    flagged_hits: dict[str, int] = field(init=False)

    def __post_init__(self, points: Sequence[OperatingPoint]) -> None:
        self._thresholds = {point.name: point.threshold for point in points}
        self.flagged = dict.fromkeys(self._thresholds, 0)
        self.flagged_hits = dict.fromkeys(self._thresholds, 0)

    def add(self, score: float, *, hit: bool) -> None:
        """Count one image."""
        self.known += 1
        self.hits += hit
        for name, threshold in self._thresholds.items():
            if score >= threshold:
                self.flagged[name] += 1
                self.flagged_hits[name] += hit
