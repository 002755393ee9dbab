"""What an engine answers, and the two-member protocol behind which OpenVINO sits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from runtime.image.outcome import Execution


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Scores by name (0-1, activation applied), the evidence map if the model has one."""

    scores: dict[str, float]
    execution: Execution
    evidence: NDArray[np.float32] | None = None
    infer_ms: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """Runs one package at one precision."""

    @property
    def execution(self) -> Execution:
        """Requested and actual device, executed precision."""
        ...

    def infer(self, tensors: Mapping[str, NDArray[np.generic]]) -> Prediction:
        """One inference. `tensors`: input tensor name -> array of the port's shape.

        Raises:
            EngineFaultError: the device or the graph failed; the worker may rebuild the engine.
        """
        ...
