"""What a package must hold on labelled images before it is made, and the figures that say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.evaluation.agreement import MINIMUM_OF_EACH_CLASS
from converters.evaluation.verification import DEFAULT_MARGIN
from converters.labelled.reading_options import EvaluationOptions
from models.manifest import Parity

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.evaluation.agreement import Agreement
    from converters.evaluation.score_cache import ScoreCache
    from converters.evaluation.verification import Verification
    from converters.labelled.labels import Labels


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How much AUC a precision may lose against the source model."""

    allowed: float = DEFAULT_MARGIN
    accepted_loss: float | None = None
    """An engineer's own figure, which then stands in the manifest."""

    @property
    def effective(self) -> float:
        """What is held against the interval."""
        return self.allowed if self.accepted_loss is None else self.accepted_loss

    def faults(self, verification: Verification) -> list[str]:
        """One sentence for each precision that is not shown to be non-inferior."""
        return [
            self._fault(agreement)
            for agreement in verification.agreements
            if not agreement.non_inferior(self.effective)
        ]

    def _fault(self, agreement: Agreement) -> str:
        if agreement.auc is None:
            return (
                f"{agreement.precision}: {agreement.positives} positives and "
                f"{agreement.images - agreement.positives} others were assessed: at least "
                f"{MINIMUM_OF_EACH_CLASS} of each are needed to tell a loss of AUC"
            )
        low, high = agreement.auc.ci95
        return (
            f"{agreement.precision}: AUC {agreement.auc.candidate:.4f} against "
            f"{agreement.auc.reference:.4f} of the source: {agreement.auc.difference:+.4f} "
            f"({low:+.4f} to {high:+.4f}) may lose more than {self.effective:g}; "
            f"--accept-loss {-low:.4f} would accept it"
        )

    def parity(self, agreement: Agreement, device: str) -> Parity:
        """The agreement as it stands in a manifest."""
        shown = agreement.auc
        return Parity(
            precision=agreement.precision,
            device=device,
            largest_score_difference=agreement.largest_score_difference,
            auc_difference=shown.difference if shown else None,
            auc_difference_ci95=shown.ci95 if shown else None,
            images=agreement.images,
            accepted_auc_loss=self.accepted_loss,
        )


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The labelled images on which a package is to be proved."""

    labels: Labels
    options: EvaluationOptions = field(default_factory=EvaluationOptions)
    margin: Margin = field(default_factory=Margin)
    memory: ScoreCache | None = None
    """Scores of an earlier run that was interrupted."""
    progress: Callable[[int], None] = field(default=lambda _: None)

    def require(self, verification: Verification) -> None:
        """Nothing, where every precision is non-inferior.

        Raises:
            BenchFaultError: with a sentence for each precision that is not.
        """
        faults = self.margin.faults(verification)
        if faults:
            raise BenchFaultError([f"verify: {fault}" for fault in faults])
