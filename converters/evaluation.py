"""A package on labelled images, through the runtime's own preparation and engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.discrimination import Auc, ScoreTally, wilson
from converters.errors import BenchFaultError
from converters.image_reading import ImageRefusedError, SideNotes, read_image
from models.manifest import Scope
from runtime.judgement import suspicion
from runtime.preparation import prepare, prepare_region
from runtime.suitability import assess_header, assess_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from converters.labels import LabelledImage
    from models.manifest import Manifest, OperatingPoint
    from runtime.mammogram import Mammogram
    from runtime.prediction import Engine

MAX_PIXELS = 64_000_000
REGION_SPACING_MM = 0.05
"""Of a piece of a view that says nothing about itself: scanned film (CBIS-DDSM)."""
MAXIMUM_SUBGROUPS = 64
"""A column with more values than this (a date, a path) is no subgroup."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to look at the images."""

    regions: bool = False
    pixel_spacing_mm: float | None = None
    """Of images that do not say it, neither themselves nor in the CSV."""


@dataclass(frozen=True, kw_only=True)
class AtPoint:
    """What an operating point gave, over the assessed images."""

    point: OperatingPoint
    sensitivity: float | None
    sensitivity_ci95: tuple[float, float] | None
    specificity: float | None
    specificity_ci95: tuple[float, float] | None


@dataclass(kw_only=True)
class Evaluation:
    """The tally of an evaluation, grown image by image; its size does not depend on theirs."""

    overall: ScoreTally = field(default_factory=ScoreTally)
    by: dict[str, ScoreTally] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    """Not-assessed images by the first reason's code."""
    too_many: set[str] = field(default_factory=set)
    """Columns left out because they have too many values."""

    def add(self, image: LabelledImage, score: float | None, reason: str = "") -> None:
        """Count one image; `score` None and a reason's code where it was not assessed."""
        self.overall.add(positive=image.positive, score=score)
        if score is None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        for group in image.subgroups:
            column = group.partition("=")[0]
            if group not in self.by and len(self.by) >= MAXIMUM_SUBGROUPS:
                self.too_many.add(column)
                continue
            self.by.setdefault(group, ScoreTally()).add(positive=image.positive, score=score)

    def at(self, point: OperatingPoint) -> AtPoint:
        """Sensitivity and specificity of an operating point with Wilson's intervals."""
        hits, alarms = self.overall.at_or_above(point.threshold)
        positives, negatives = self.overall.assessed()
        spared = negatives - alarms
        return AtPoint(
            point=point,
            sensitivity=hits / positives if positives else None,
            sensitivity_ci95=wilson(hits, positives),
            specificity=spared / negatives if negatives else None,
            specificity_ci95=wilson(spared, negatives),
        )

    def auc(self) -> Auc:
        """Over all images, those not assessed counted against the package."""
        return self.overall.auc()


def evaluate(
    manifest: Manifest,
    engine: Engine,
    images: Iterable[LabelledImage],
    options: EvaluationOptions,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Judge every image by itself.

    Raises:
        BenchFaultError: the package judges several views at once.
        EngineFaultError: the engine failed.
    """
    if manifest.scope is not Scope.VIEW:
        raise BenchFaultError([f"{manifest.label}: evaluate judges single views (scope view)"])
    evaluation = Evaluation()
    for number, image in enumerate(images, start=1):
        try:
            mammogram = read_image(image.path, notes_of(image, options))
        except ImageRefusedError as refused:
            evaluation.add(image, None, refused.reason)
        else:
            score, reason = score_of_image(manifest, engine, mammogram, regions=options.regions)
            evaluation.add(image, score, reason)
        progress(number)
    return evaluation


def notes_of(image: LabelledImage, options: EvaluationOptions) -> SideNotes:
    """What is known of an image from outside its file."""
    spacing = image.pixel_spacing_mm or options.pixel_spacing_mm
    if spacing is None and options.regions:
        spacing = REGION_SPACING_MM
    return SideNotes.of(image.laterality, image.view, spacing)


def score_of_image(
    manifest: Manifest, engine: Engine, mammogram: Mammogram, *, regions: bool
) -> tuple[float | None, str]:
    """The suspicion, or None and the reason's code."""
    port = manifest.inputs[0]
    recipe = manifest.recipe_for(port)
    if regions:
        tensor = prepare_region(mammogram, recipe).tensor
    else:
        found = assess_header(mammogram.header, manifest.accepts, recipe)
        if found.suitable:
            found = assess_pixels(mammogram, manifest.accepts)
        if found.reasons:
            return None, found.reasons[0]
        tensor = prepare(mammogram, recipe, breast=found.breast).tensor
    prediction = engine.infer({port.tensor: tensor})
    return suspicion(prediction, manifest, mammogram.header.laterality), ""
