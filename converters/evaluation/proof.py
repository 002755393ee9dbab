"""What a package must hold on labelled images before it is made, and the figures that say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.evaluation.agreement import MINIMUM_OF_EACH_CLASS
from converters.evaluation.flag_loss import FEWEST_POSITIVES
from converters.evaluation.verification import DEFAULT_MARGIN
from converters.labelled.reading_options import EvaluationOptions
from models.manifest import Parity, PointParity, ProofVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.evaluation.agreement import Agreement, PointAgreement
    from converters.evaluation.flag_loss import PairedFlags
    from converters.evaluation.score_cache import ScoreCache
    from converters.evaluation.verification import Verification
    from converters.labelled.labels import Labels
    from models.manifest import OperatingPoint


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What labelled images say of a precision, a sentence for each reason."""

    precision: str
    refused: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def verdict(self) -> ProofVerdict:
        """`pass` only where nothing speaks against it and nothing is missing."""
        if self.refused:
            return ProofVerdict.FAIL
        return ProofVerdict.NOT_PROVED if self.open else ProofVerdict.PROVED

    @property
    def because(self) -> tuple[str, ...]:
        """Why the verdict is no better."""
        return self.refused or self.open


def worst_of(judgements: Sequence[Judgement]) -> ProofVerdict:
    """That of all precisions together."""
    verdicts = {judgement.verdict for judgement in judgements}
    worst_first = (ProofVerdict.FAIL, ProofVerdict.NOT_PROVED, ProofVerdict.PROVED)
    return next(verdict for verdict in worst_first if verdict in verdicts)


@dataclass(frozen=True, kw_only=True)
class _Loss:
    """Of one class at one point."""

    flags: PairedFlags
    what: str

    def __str__(self) -> str:
        return (
            f"{self.flags.lost} of {self.flags.images} {self.what}, {self.flags.won} the other way"
            f" round (by chance alone: {self.flags.chance:.2g})"
        )


def _losses(point: PointAgreement) -> tuple[_Loss, _Loss]:
    return (
        _Loss(flags=point.positives, what="positives lose the flag that the source gives"),
        _Loss(flags=point.negatives, what="negatives get a flag that the source does not give"),
    )


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

    def judgements(self, verification: Verification) -> tuple[Judgement, ...]:
        """The verdict on each precision, and why it is no `pass`."""
        doubts = verification.doubts
        return tuple(
            Judgement(
                precision=agreement.precision,
                refused=(*doubts.certain, *self._refusals(agreement)),
                open=(*doubts.open, *self._open(agreement)),
            )
            for agreement in verification.agreements
        )

    def _refusals(self, agreement: Agreement) -> list[str]:
        """What shows that the precision is worse than the source."""
        name, tests = agreement.precision, 2 * len(agreement.points)
        told = [
            f"{name} at {point}: {loss}"
            for point, flags in agreement.points.items()
            for loss in _losses(flags)
            if loss.flags.refused(tests)
        ]
        if agreement.inferior(self.effective):
            told.append(self._auc_fault(agreement))
        return told

    def _open(self, agreement: Agreement) -> list[str]:
        """What is missing for a proof."""
        name, told = agreement.precision, []
        others = agreement.images - agreement.positives
        if agreement.positives < FEWEST_POSITIVES or agreement.auc is None:
            told.append(
                f"{name}: {agreement.positives} positives and {others} others were assessed:"
                f" with fewer than {FEWEST_POSITIVES} positives ({MINIMUM_OF_EACH_CLASS} others)"
                " not even none lost would exclude that one in twenty is"
            )
        elif not agreement.non_inferior(self.effective):
            told.append(self._auc_fault(agreement))
        return told + [
            f"{name} at {point}: {loss}, which may be chance"
            for point, flags in agreement.points.items()
            for loss in _losses(flags)
            if loss.flags.doubtful
        ]

    def _auc_fault(self, agreement: Agreement) -> str:
        assert agreement.auc is not None  # noqa: S101 - both callers have seen it
        low, high = agreement.auc.ci95
        return (
            f"{agreement.precision}: AUC {agreement.auc.candidate:.4f} against "
            f"{agreement.auc.reference:.4f} of the source: {agreement.auc.difference:+.4f} "
            f"({low:+.4f} to {high:+.4f}) may lose more than {self.effective:g}; "
            f"--accept-loss {-low:.4f} would accept it"
        )

    def parity(
        self,
        agreement: Agreement,
        device: str,
        judgement: Judgement,
        points: Sequence[OperatingPoint],
    ) -> Parity:
        """The agreement as it stands in a manifest; `points` as `measured_points` made them."""
        shown = agreement.auc
        return Parity(
            precision=agreement.precision,
            device=device,
            largest_score_difference=agreement.largest_score_difference,
            auc_difference=shown.difference if shown else None,
            auc_difference_ci95=shown.ci95 if shown else None,
            images=agreement.images,
            accepted_auc_loss=self.accepted_loss,
            verdict=judgement.verdict,
            because=judgement.because,
            positives=agreement.positives,
            measured_on=points[0].measured_on,
            points=tuple(
                PointParity(
                    name=point.name,
                    sensitivity=point.sensitivity,
                    sensitivity_ci95=point.sensitivity_ci95,
                    specificity=point.specificity,
                    specificity_ci95=point.specificity_ci95,
                    positives_lost=agreement.points[point.name].positives.lost,
                    positives_won=agreement.points[point.name].positives.won,
                    negatives_lost=agreement.points[point.name].negatives.lost,
                    negatives_won=agreement.points[point.name].negatives.won,
                )
                for point in points
            ),
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
