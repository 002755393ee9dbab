"""`mammoedge evaluate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.commands.command_guard import DONE, FAIL, guarded
from converters.evaluation.discrimination import wilson
from converters.evaluation.evaluate import Evaluation, evaluate
from converters.evaluation.plausibility import doubts_about
from converters.labelled.labelled_images import labels_of, options_of
from converters.labelled.scored_subject import counted_as
from converters.labelled.scored_subjects import subjects_of
from converters.progress import progress_bar
from models.manifest import ProofVerdict
from models.package import load_package
from runtime.inference.engine import open_engine

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from converters.evaluation.discrimination import Auc
    from converters.labelled.lesions import PeakTally
    from models.manifest import OperatingPoint
    from models.package import Package

DIGITS = 4


def run(arguments: Namespace) -> int:
    """Exit code 0 only if the verdict is `pass`; 1 for `not proved` and `fail`; 2 without one."""
    return guarded(_run, arguments)


def _run(arguments: Namespace, scratch: Path) -> int:
    labels = labels_of(arguments)
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    precision = arguments.precision or package.manifest.default_precision
    devices = tuple(arguments.devices or ("CPU",))
    engine = open_engine(package, precision, devices, None, threads=arguments.threads)
    options = options_of(arguments)
    subjects = subjects_of(package.manifest, labels, options)
    evaluation = evaluate(
        package.manifest,
        engine,
        subjects,
        options,
        progress=progress_bar("evaluate", len(subjects)),
    )
    verdict, because = _verdict(evaluation, package.manifest.operating_points, arguments.min_auc)
    if not arguments.json:
        print("\n".join([*_lines(evaluation, package, precision), *because]))
        print(f"verdict: {verdict}")
    line = _report(evaluation, package, precision) | {"because": because, "verdict": verdict}
    print(json.dumps(line))
    return DONE if verdict is ProofVerdict.PROVED else FAIL


def _verdict(
    evaluation: Evaluation, points: Sequence[OperatingPoint], minimum: float | None
) -> tuple[ProofVerdict, tuple[str, ...]]:
    """And why it is no better; what cannot be told, or is a model's by no sign, never passes."""
    auc, assessed = evaluation.auc().auc, evaluation.overall.assessed()
    if auc is None or not any(assessed):
        return ProofVerdict.FAIL, ("no AUC can be told",)
    if minimum is not None and auc < minimum:
        return ProofVerdict.FAIL, (f"AUC {auc:.3f} is below {minimum:g}",)
    doubts = doubts_about(evaluation.overall, points)
    if doubts.certain:
        return ProofVerdict.FAIL, doubts.certain
    return ProofVerdict.NOT_PROVED if doubts.open else ProofVerdict.PROVED, doubts.open


def _report(evaluation: Evaluation, package: Package, precision: str) -> dict[str, Any]:
    overall = evaluation.overall
    auc = overall.auc()
    return {
        "n": overall.images,
        "positives": overall.positives,
        "not_assessed": overall.not_assessed,
        "not_assessed_by_reason": evaluation.reasons,
        "auc": _rounded(auc.auc),
        "auc_assessed": _rounded(overall.auc_assessed().auc),
        "ci95": _interval(auc.ci95),
        "by": {
            group: {
                "n": tally.images,
                "positives": tally.positives,
                "not_assessed": tally.not_assessed,
                "auc": _rounded(tally.auc().auc),
                "ci95": _interval(tally.auc().ci95),
            }
            for group, tally in evaluation.by.items()
        },
        "left_out_of_by": sorted(evaluation.too_many),
        "operating_points": {
            at.point.name: {
                "threshold": at.point.threshold,
                "sensitivity": _rounded(at.sensitivity),
                "sensitivity_ci95": _interval(at.sensitivity_ci95),
                "specificity": _rounded(at.specificity),
                "specificity_ci95": _interval(at.specificity_ci95),
            }
            for at in map(evaluation.at, package.manifest.operating_points)
        },
        "peak_in_lesion": _peaks(evaluation.peaks),
        "model": package.manifest.label,
        "precision": precision,
    }


def _lines(evaluation: Evaluation, package: Package, precision: str) -> list[str]:
    overall, counted = evaluation.overall, counted_as(package.manifest.scope)
    lines = [
        f"{package.manifest.label} at {precision}",
        f"{counted:14} {overall.images}, {overall.positives} of them positive",
        f"not assessed   {overall.not_assessed}",
        f"AUC            {_shown(overall.auc())}",
        f"AUC, assessed  {_shown(overall.auc_assessed())}",
    ]
    lines += [
        f"  {group:28} n={tally.images:<6} AUC {_shown(tally.auc())}"
        for group, tally in sorted(evaluation.by.items())
    ]
    lines += [f"not assessed: {reason} {count}" for reason, count in evaluation.reasons.items()]
    lines += [
        f"column {name!r} has too many values for subgroups" for name in sorted(evaluation.too_many)
    ]
    for at in map(evaluation.at, package.manifest.operating_points):
        lines.append(
            f"{at.point.name:24} threshold {at.point.threshold:.3f}  "
            f"sensitivity {_share(at.sensitivity, at.sensitivity_ci95)}  "
            f"specificity {_share(at.specificity, at.specificity_ci95)}"
        )
    if (peaks := evaluation.peaks).known:
        lines.append("map's peak in a lesion of known place, of the positive images flagged")
        lines += [
            f"  {name:28} {_of(peaks.flagged_hits[name], flagged)}"
            for name, flagged in peaks.flagged.items()
            if flagged
        ]
        lines.append(f"  {'flagged or not':28} {_of(peaks.hits, peaks.known)}")
    lines.append("threshold  sensitivity  specificity")
    positives, negatives = overall.assessed()
    for threshold in overall.thresholds():
        hits, alarms = overall.at_or_above(threshold)
        specificity = 1 - alarms / negatives if negatives else float("nan")
        lines.append(f"  {threshold:.4f}       {hits / positives:.3f}        {specificity:.3f}")
    return lines


def _peaks(peaks: PeakTally) -> dict[str, Any] | None:
    """None where no assessed image has both a map and a lesion of known place."""
    if not peaks.known:
        return None
    return {
        "known": peaks.known,
        "hits": peaks.hits,
        "operating_points": {
            name: {"flagged": flagged, "hits": peaks.flagged_hits[name]}
            for name, flagged in peaks.flagged.items()
        },
    }


def _of(hits: int, images: int) -> str:
    return f"{hits} of {images}: {_share(hits / images, wilson(hits, images))}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _interval(value: tuple[float, float] | None) -> list[float] | None:
    return None if value is None else [round(value[0], DIGITS), round(value[1], DIGITS)]


def _shown(auc: Auc) -> str:
    return _share(auc.auc, auc.ci95)


def _share(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "cannot be told"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")
