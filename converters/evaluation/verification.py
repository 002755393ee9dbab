"""Source model against every precision of a package, on the same images, by the unit's own path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.evaluation.agreement import SOURCE, Agreement, Case, agreement_of
from converters.evaluation.discrimination import ScoreTally
from converters.evaluation.inference_on_labelled import (
    LabelledInference,
    key_of_files,
    key_of_notes,
)
from converters.evaluation.plausibility import Doubts, doubts_about
from converters.importing.folding import numpy_tail
from converters.labelled.reading_options import EvaluationOptions
from runtime.image.outcome import Execution
from runtime.image.prediction import Prediction
from runtime.inference.engine import scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from converters.evaluation.score_cache import ScoreCache
    from converters.evaluation.witness import ScoreWitness
    from converters.labelled.scored_subject import ScoredSubject
    from models.manifest import Manifest
    from runtime.image.prediction import Engine

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
        scores = scores_of(self._manifest, self._run(source_inputs(self._manifest, tensors)))
        return Prediction(scores=scores, execution=self.execution)


def source_inputs(
    manifest: Manifest, tensors: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """What the source model gets where a package gets `tensors`."""
    whole: dict[str, NDArray[np.generic]] = {}
    for port in manifest.inputs:
        recipe = manifest.recipe_for(port)
        tensor = tensors[port.tensor]
        if recipe.folded_from is not None:
            tensor = numpy_tail(tensor.astype("float32"), recipe.steps[recipe.folded_from :])
        whole[port.tensor] = tensor
    return whole


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Every image's scores, and what they come to."""

    cases: tuple[Case, ...]
    agreements: tuple[Agreement, ...]
    doubts: Doubts = field(default_factory=Doubts)
    """Whether the source's scores are those of a model."""
    witness: ScoreWitness | None = None
    """What the hospital's own scores say of the preparation; None where there are none."""
    options: EvaluationOptions = field(default_factory=EvaluationOptions)
    """How the images were looked at."""

    @property
    def not_assessed(self) -> dict[str, int]:
        """Images without a score, by reason."""
        return dict(Counter(case.reason for case in self.cases if not case.scores))


def verify(
    manifest: Manifest,
    run_source: RunSource,
    engines: Mapping[str, Engine],
    subjects: Iterable[ScoredSubject],
    options: EvaluationOptions,
    *,
    memory: ScoreCache | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Ask the source model and each of `engines` (precision -> engine) about every subject.

    DICOM files go through the runtime's `Pipeline`, as on a unit; pictures through the same
    steps after their own reader.

    Raises:
        BenchFaultError: no subject was assessed.
        EngineFaultError: an engine failed.
    """
    source = SourceEngine(manifest, run_source)
    labelled_inference = LabelledInference(manifest, {SOURCE: source, **engines}, options)
    cases = []
    for number, subject in enumerate(subjects, start=1):
        key = key_of_files(subject.paths)
        known_as = f"{key} {key_of_notes(subject)}"
        answer = memory.recall(known_as) if memory is not None else None
        if answer is None:
            answer = labelled_inference.answer(subject)
            if memory is not None:
                memory.remember(known_as, answer)
        cases.append(
            Case(
                key=key,
                positive=subject.positive,
                scores=answer.scores,
                reason=answer.reason,
                subject=subject,
            )
        )
        progress(number)
    if not any(case.scores for case in cases):
        told = ", ".join(sorted({case.reason for case in cases})) or "no images"
        raise BenchFaultError([f"verify: nothing was assessed ({told})"])
    points = manifest.operating_points
    tally = ScoreTally()
    for case in cases:
        tally.add(positive=case.positive, score=case.scores.get(SOURCE))
    return Verification(
        cases=tuple(cases),
        agreements=tuple(agreement_of(cases, name, points) for name in engines),
        doubts=doubts_about(tally, points),
        options=options,
    )
