"""Source model against every precision of a package, on the same images, by the unit's own path."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.agreement import SOURCE, Agreement, Case, agreement_of
from converters.case_memory import Answer
from converters.errors import BenchFaultError
from converters.evaluation import MAX_PIXELS, notes_of, score_of_image
from converters.folding import numpy_tail
from converters.image_reading import PICTURE_SUFFIXES, ImageRefusedError, read_image
from models.manifest import Scope
from runtime.engine import scores_of
from runtime.judgement import suspicion
from runtime.outcome import Execution, ModelRef, NotAssessed
from runtime.pipeline import Pipeline
from runtime.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from converters.case_memory import CaseMemory
    from converters.evaluation import EvaluationOptions
    from converters.labels import LabelledImage
    from models.manifest import Manifest
    from runtime.image_header import Laterality
    from runtime.prediction import Engine

    RunSource = Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]

DEFAULT_MARGIN = 0.01
"""Of non-inferiority in AUC: NNCF's accepted drop, and what triage devices argue about."""


class SourceEngine:
    """The source model in its own framework, behind the runtime's preparation.

    The recipe's folded tail, which the unit's graph holds, is applied in NumPy.
    """

    execution = Execution(requested_device="CPU", actual_device="CPU", executed_precision="f32")

    def __init__(self, manifest: Manifest, run_source: RunSource) -> None:
        self._manifest = manifest
        self._run = run_source

    def infer(self, tensors: Mapping[str, NDArray[np.generic]]) -> Prediction:
        """One inference; `tensors` as the runtime prepares them for the package."""
        whole: dict[str, NDArray[np.generic]] = {}
        for port in self._manifest.inputs:
            recipe = self._manifest.recipe_for(port)
            tensor = tensors[port.tensor]
            if recipe.folded_from is not None:
                tensor = numpy_tail(tensor.astype("float32"), recipe.steps[recipe.folded_from :])
            whole[port.tensor] = tensor
        scores = scores_of(self._manifest, self._run(whole))
        return Prediction(scores=scores, execution=self.execution)


class Panel:
    """An engine that asks several engines the same question and keeps every answer."""

    def __init__(self, members: Mapping[str, Engine]) -> None:
        self._members = dict(members)
        self.answers: dict[str, Prediction] = {}

    @property
    def execution(self) -> Execution:
        """That of the last member."""
        return list(self._members.values())[-1].execution

    def infer(self, tensors: Mapping[str, NDArray[np.generic]]) -> Prediction:
        """Ask every member. Raises EngineFaultError."""
        self.answers = {name: member.infer(tensors) for name, member in self._members.items()}
        return list(self.answers.values())[-1]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Every image's scores, and what they come to."""

    cases: tuple[Case, ...]
    agreements: tuple[Agreement, ...]

    @property
    def not_assessed(self) -> dict[str, int]:
        """Images without a score, by reason."""
        return dict(Counter(case.reason for case in self.cases if not case.scores))


def verify(
    manifest: Manifest,
    run_source: RunSource,
    engines: Mapping[str, Engine],
    images: Iterable[LabelledImage],
    options: EvaluationOptions,
    *,
    memory: CaseMemory | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Ask the source model and each of `engines` (precision -> engine) about every image.

    A DICOM file goes through the runtime's `Pipeline`, as on a unit; a picture through the same
    steps after its own reader.

    Raises:
        BenchFaultError: the package judges several views at once, or no image was assessed.
        EngineFaultError: an engine failed.
    """
    if manifest.scope is not Scope.VIEW:
        raise BenchFaultError([f"{manifest.label}: verify judges single views (scope view)"])
    panel = Panel({SOURCE: SourceEngine(manifest, run_source), **engines})
    pipeline = Pipeline(
        manifest=manifest, model=_model_ref(manifest), engine=panel, max_pixels=MAX_PIXELS
    )
    cases = []
    for number, image in enumerate(images, start=1):
        key = _key(image.path)
        answer = memory.recall(key) if memory is not None else None
        if answer is None:
            panel.answers = {}
            laterality, reason = _ask(pipeline, panel, manifest, image, options)
            scores = {
                name: suspicion(prediction, manifest, laterality)
                for name, prediction in panel.answers.items()
            }
            answer = Answer(scores=scores, reason=reason)
            if memory is not None:
                memory.remember(key, answer)
        cases.append(
            Case(
                key=key,
                path=image.path,
                positive=image.positive,
                scores=answer.scores,
                reason=answer.reason,
            )
        )
        progress(number)
    if not any(case.scores for case in cases):
        told = ", ".join(sorted({case.reason for case in cases})) or "no images"
        raise BenchFaultError([f"verify: not one image was assessed ({told})"])
    points = manifest.operating_points
    return Verification(
        cases=tuple(cases),
        agreements=tuple(agreement_of(cases, name, points) for name in engines),
    )


def _ask(
    pipeline: Pipeline,
    panel: Panel,
    manifest: Manifest,
    image: LabelledImage,
    options: EvaluationOptions,
) -> tuple[Laterality | None, str]:
    """The image's laterality, and why it was not assessed or ""."""
    if image.path.suffix.lower() not in PICTURE_SUFFIXES and not options.regions:
        judged, _ = pipeline.judge_view(0, image.path)
        outcome = judged.outcome
        reason = outcome.reasons[0] if isinstance(outcome, NotAssessed) else ""
        return judged.header.laterality if judged.header else None, reason
    try:
        mammogram = read_image(image.path, notes_of(image, options))
    except ImageRefusedError as refused:
        return None, refused.reason
    _, reason = score_of_image(manifest, panel, mammogram, regions=options.regions)
    return mammogram.header.laterality, reason


def _model_ref(manifest: Manifest) -> ModelRef:
    """What the pipeline stamps on results that nobody will see."""
    point = manifest.operating_points[0]
    return ModelRef(
        name=manifest.name,
        version=manifest.version,
        package_sha256="",
        operating_point=point.name,
        threshold=point.threshold,
        precision="",
    )


def _key(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
