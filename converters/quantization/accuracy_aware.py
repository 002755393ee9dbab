"""INT8 that gives layers back to floating point until the AUC on labelled images holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from converters.errors import BenchFaultError
from converters.labelled.reading_options import notes_of
from converters.labelled.scored_subjects import ScoredSubjects
from converters.quantization.calibration import prepared_image
from converters.quantization.int8 import quantize_int8_by_auc
from runtime.inference.engine import softmax_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe
    from converters.labelled.labels import Labels
    from converters.labelled.reading_options import EvaluationOptions
    from converters.quantization.tensor_store import TensorStore
    from models.manifest import InputPort, OutputPort

Item = tuple["Mapping[str, NDArray[np.generic]]", bool]


class LabelledTensors(Sequence[Item]):
    """Prepared inputs on disk, each with whether it is positive."""

    def __init__(self, store: TensorStore, positive: Sequence[bool]) -> None:
        self._store = store
        self._positive = positive

    def __len__(self) -> int:
        return len(self._positive)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._store[index], self._positive[index]


def labelled_tensors(
    model: ImportedModel,
    recipe: PackageRecipe,
    labels: Labels,
    options: EvaluationOptions,
    store: TensorStore,
) -> LabelledTensors:
    """The labelled images, breasts or exams that can be assessed, prepared.

    Raises:
        BenchFaultError: one class is empty.
    """
    ports: dict[str, InputPort] = {port.view: port for port in model.inputs}
    positive: list[bool] = []
    for subject in ScoredSubjects(recipe.scope, model.inputs, labels):
        if subject.missing:
            continue
        *_, question = subject.questions()
        tensors: dict[str, NDArray[np.generic]] = {}
        for slot, image in question:
            port = ports[slot]
            steps = port.preparation or recipe.steps_for(port)
            prepared = prepared_image(image.path, notes_of(image, options), recipe, steps)
            if not isinstance(prepared, str):
                tensors[port.tensor] = prepared.tensor
        if len(tensors) == len(ports):
            store.append(tensors)
            positive.append(subject.positive)
    if all(positive) or not any(positive):
        raise BenchFaultError(["--accuracy-aware: the assessed images are all of one class"])
    return LabelledTensors(store, positive)


def quantize_by_auc(
    model: ImportedModel,
    recipe: PackageRecipe,
    samples: Sequence[Mapping[str, NDArray[np.generic]]],
    labelled: LabelledTensors,
    *,
    architecture: Literal["cnn", "transformer"],
    overflow_fix: Literal["enable", "disable"],
    max_drop: float,
) -> Any:
    """`nncf.quantize_with_accuracy_control`, with the AUC of the suspicion as its measure."""
    suspicion = next(output for output in recipe.outputs if output.suspicion)

    def measure(compiled: Any, items: Iterable[Item]) -> tuple[float, None]:
        scores, truth = [], []
        for tensors, positive in items:
            raw = np.asarray(compiled(dict(tensors))[suspicion.tensor], np.float64)
            scores.append(_rank(suspicion, raw))
            truth.append(positive)
        return _auc(np.array(truth, bool), np.array(scores)), None

    return quantize_int8_by_auc(
        model.graph,
        samples,
        labelled,
        measure,
        architecture=architecture,
        overflow_fix=overflow_fix,
        max_drop=max_drop,
    )


def _rank(port: OutputPort, raw: NDArray[np.float64]) -> float:
    """What ranks as the score does: ranks are all that counts, so a sigmoid need not be applied.

    Of a softmax the logit less the logarithm of the others' powers.
    """
    sign = -1.0 if port.complement else 1.0
    if port.activation != "softmax":
        return sign * float(raw.reshape(-1)[port.index])
    values, place = softmax_group(port, raw)
    return sign * float(values[place] - np.logaddexp.reduce(np.delete(values, place)))


def _auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Share of pairs in order; a subset that has one class only tells nothing: 0.5."""
    above = scores[truth][:, None] - scores[~truth][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean()) if above.size else 0.5
