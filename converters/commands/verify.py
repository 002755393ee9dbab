"""`mammoedge verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from converters.commands.command_guard import DONE, FAIL, guarded
from converters.errors import BenchFaultError
from converters.evaluation.proof import Margin, worst_of
from converters.evaluation.verification import verify
from converters.importing.source_files import SourceFiles
from converters.importing.source_kind import SourceKind, kind_of
from converters.importing.source_reading import read_source, source_runner
from converters.labelled.labelled_images import labels_of, options_of
from converters.labelled.scored_subject import counted_as
from converters.labelled.scored_subjects import subjects_of
from converters.packaging.report import Reported, write_report
from converters.progress import progress_bar
from models.manifest import ProofVerdict
from models.package import load_package
from runtime.inference.engine import open_engine

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from converters.evaluation.agreement import Agreement, PointAgreement
    from converters.evaluation.proof import Judgement
    from converters.evaluation.verification import Verification
    from models.package import Package

DIGITS = 6


def run(arguments: Namespace) -> int:
    """Exit code 0 only if the verdict is `pass`; 1 for `not proved` and `fail`; 2 without one."""
    return guarded(_run, arguments)


def _run(arguments: Namespace, scratch: Path) -> int:
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    manifest = package.manifest
    labels = labels_of(arguments)
    kind = kind_of(arguments.source)
    if SourceFiles.of(arguments.source, kind).sha256() != manifest.source.sha256:
        raise BenchFaultError([f"{arguments.source.name}: {manifest.label} was not made from it"])
    engines = {
        name: open_engine(package, name, ("CPU",), None, threads=arguments.threads)
        for name in arguments.precisions or manifest.precisions
    }
    margin = Margin(allowed=arguments.margin, accepted_loss=arguments.accept_loss)
    options = options_of(arguments)
    subjects = subjects_of(manifest, labels, options)
    counted = counted_as(manifest.scope)
    verification = verify(
        manifest,
        _source_runner(arguments.source, package),
        engines,
        subjects,
        options,
        progress=progress_bar("verify", len(subjects), counted=counted),
    )
    if arguments.report is not None:
        write_report(
            arguments.report,
            Reported(manifest=manifest, verification=verification, margin=margin),
        )
    judgements = margin.judgements(verification)
    verdict = worst_of(judgements)
    if not arguments.json:
        because = dict.fromkeys(told for one in judgements for told in one.because)
        lines = [*lines_of(verification, margin, counted), *because]
        print("\n".join([*lines, f"verdict: {verdict}"]))
    print(json.dumps(_figures(package, verification, margin, judgements)))
    return DONE if verdict is ProofVerdict.PROVED else FAIL


def _source_runner(source: Path, package: Package) -> Any:
    """The source model in its own framework, else OpenVINO's reading of it.

    Raises:
        BenchFaultError: the source is one that only a recipe tells how to run.
    """
    kind = kind_of(source)
    if kind is SourceKind.ONNX:
        return source_runner(source, kind, None)
    unfolded = read_source(source, kind)
    inputs = [port.tensor for port in package.manifest.inputs]
    wanted = list(dict.fromkeys(port.tensor for port in package.manifest.outputs))
    if package.manifest.evidence is not None:
        wanted.append(package.manifest.evidence.tensor)
    for ports, names in ((unfolded.inputs, inputs), (unfolded.outputs, wanted)):
        if len(ports) != len(names):
            raise BenchFaultError([f"{source.name}: other ports than {package.manifest.label}"])
        for port, name in zip(ports, names, strict=True):
            port.set_names({name})
    return source_runner(source, kind, unfolded)


def lines_of(verification: Verification, margin: Margin, counted: str) -> list[str]:
    """The figures for people, a line for each precision and each operating point's flips."""
    assessed = sum(bool(case.scores) for case in verification.cases)
    lines = [f"{counted:14} {len(verification.cases)}, {assessed} assessed"]
    lines += [f"not assessed: {reason} {n}" for reason, n in verification.not_assessed.items()]
    for agreement in verification.agreements:
        lines.append(
            f"{agreement.precision:6} largest score difference "
            f"{agreement.largest_score_difference:.2e}, mean {agreement.mean_score_difference:.2e}"
        )
        if agreement.auc is not None:
            low, high = agreement.auc.ci95
            lines.append(
                f"       AUC {agreement.auc.candidate:.4f}, source {agreement.auc.reference:.4f}: "
                f"{agreement.auc.difference:+.4f} ({low:+.4f} to {high:+.4f}), "
                f"margin {margin.effective:g}"
            )
        source, ours = agreement.brier
        lines.append(
            f"       99 of 100 scores within {agreement.p99_score_difference:.2e} of the source's,"
            f" Brier score {ours:.4f}, source {source:.4f}"
        )
        lines += [flips_line(name, point) for name, point in agreement.points.items()]
    return lines


def flips_line(name: str, point: PointAgreement) -> str:
    """How many flags change at an operating point, and which way."""
    positives, negatives = point.positives, point.negatives
    return (
        f"       {name}: {len(point.flipped)} flags of {positives.images + negatives.images}"
        f" differ from the source's: of {positives.images} positives {positives.lost} lost,"
        f" {positives.won} won; of {negatives.images} negatives {negatives.lost} lost,"
        f" {negatives.won} won"
    )


def _figures(
    package: Package,
    verification: Verification,
    margin: Margin,
    judgements: Sequence[Judgement],
) -> dict[str, Any]:
    return {
        "model": package.manifest.label,
        "framework": package.manifest.source.framework,
        "n": len(verification.cases),
        "not_assessed": sum(verification.not_assessed.values()),
        "not_assessed_by_reason": verification.not_assessed,
        "precisions": {
            agreement.precision: _precision_figures(agreement, judgement, margin)
            for agreement, judgement in zip(verification.agreements, judgements, strict=True)
        },
        "margin": margin.allowed,
        "accepted_loss": margin.accepted_loss,
        "doubts": [*verification.doubts.certain, *verification.doubts.open],
        "verdict": worst_of(judgements),
    }


def _precision_figures(
    agreement: Agreement, judgement: Judgement, margin: Margin
) -> dict[str, Any]:
    auc = agreement.auc
    return {
        "n": agreement.images,
        "positives": agreement.positives,
        "largest_score_difference": agreement.largest_score_difference,
        "mean_score_difference": agreement.mean_score_difference,
        "p99_score_difference": agreement.p99_score_difference,
        "brier_source": round(agreement.brier[0], DIGITS),
        "brier": round(agreement.brier[1], DIGITS),
        "flips": {name: len(flipped) for name, flipped in agreement.flips.items()},
        "points": {name: asdict(point) for name, point in agreement.points.items()},
        "auc_source": round(auc.reference, DIGITS) if auc else None,
        "auc": round(auc.candidate, DIGITS) if auc else None,
        "auc_difference": round(auc.difference, DIGITS) if auc else None,
        "auc_difference_ci95": [round(end, DIGITS) for end in auc.ci95] if auc else None,
        "non_inferior": agreement.non_inferior(margin.effective),
        "verdict": judgement.verdict,
        "because": judgement.because,
    }
