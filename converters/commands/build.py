"""`mammoedge build`: from a trained model to a proved package, one command, resumed if stopped."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from converters.commands.build_stages import Evidence, Speed, Stages, say
from converters.commands.command_guard import DONE, FAIL, USAGE, guarded
from converters.commands.stage_cache import StageCache
from converters.errors import BenchFaultError
from converters.evaluation.benchmark import advised, chosen
from converters.evaluation.flag_loss import FEWEST_POSITIVES
from converters.evaluation.witness import expected_scores
from converters.importing.imported_model import import_model
from converters.importing.recipe import read_recipe
from converters.labelled.labelled_images import labels_of, require_folders
from converters.packaging.assembly import require_faithful
from converters.packaging.card import no_proof_yet, shown_figure
from converters.packaging.golden_sources import phantom_cases
from converters.packaging.package_revision import revised
from converters.packaging.package_writer import (
    REPORT,
    is_archive,
    report_beside,
    require_replaceable,
    write_archive,
)
from converters.packaging.report import LATENCY, latency_section
from models.manifest import ProofVerdict
from models.package import SIGNATURE, load_package
from models.package_role import PackageRole

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

    from converters.evaluation.benchmark import MeasuredLatency
    from converters.labelled.labels import Labels
    from converters.quantization.calibration import CalibrationSet
    from models.manifest import Manifest, OperatingPoint, Parity
    from models.package import Package


@dataclass(kw_only=True)
class Clock:
    """Seconds by stage, for the verdict."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Says that the stage begins and counts its time."""
        print(f"[{len(self.seconds) + 1}] {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Built:
    """All that the last screen says."""

    package: Package
    out: Path
    """Its folder or zip."""
    calibration: CalibrationSet
    evidence: Evidence
    speed: Speed
    clock: Clock
    witness_missing: bool = False
    """No scores of the hospital's own pipeline were given."""


def run(arguments: Namespace) -> int:
    """Exit code 0 if the package is proved, 1 if it was made and is not, 2 if none was written."""
    code = guarded(_run, arguments)
    if code == USAGE:
        print("verdict: fail; no package was written", file=sys.stderr)
    return code


def _run(arguments: Namespace, scratch: Path) -> int:
    clock = Clock()
    recipe = read_recipe(arguments.recipe)
    require_replaceable(arguments.out)  # now, and not after half an hour of work
    require_folders("--calibration", arguments.calibration)
    labels = _labels(arguments)
    if recipe.role is not PackageRole.TRIAGE:
        say(f"not proved: {no_proof_yet(recipe.role)}")
        if arguments.expected is not None:
            raise BenchFaultError([f"--expected: scores of a suspicion; the role is {recipe.role}"])
        labels = None
    if labels is not None and labels.positives < FEWEST_POSITIVES:
        say(
            f"{labels.positives} of {len(labels)} labelled images are positive: with fewer than"
            f" {FEWEST_POSITIVES} the verdict cannot be pass"
        )
    if arguments.expected is not None:
        if labels is None:
            raise BenchFaultError(["--expected: needs --images and --labels of the same files"])
        expected_scores(arguments.expected)  # now, and not after half an hour of work
    bench = StageCache(arguments.out.parent / f".{arguments.out.name}.build")
    with clock.stage("convert"):
        model = import_model(arguments.source, recipe)
        require_faithful(model, recipe, phantom_cases(recipe))
    stages = Stages(arguments=arguments, bench=bench, recipe=recipe, model=model)
    with clock.stage("calibrate"):
        calibration = stages.calibrated()
    first = None
    if methods := stages.methods():
        with clock.stage("quantize"):
            first = stages.quantised(calibration, methods[0])
    with clock.stage("verify"):
        proved = stages.mended(labels, calibration, first)
    with clock.stage("explain"):
        evidence = stages.explained(proved)
    speed = Speed(latencies=(), ratios={})
    if not arguments.without_benchmark:
        with clock.stage("benchmark"):
            speed = stages.benchmarked(evidence.package)
    with clock.stage("package"):
        made = _finished(arguments, evidence.package, speed, scratch)
    bench.discard()
    built = Built(
        package=made,
        out=arguments.out,
        calibration=calibration,
        evidence=evidence,
        speed=speed,
        clock=clock,
        witness_missing=arguments.expected is None,
    )
    if arguments.json:
        print(json.dumps(_summary(built)))
    else:
        print("\n".join(_screen(built, arguments.target_ms)))
    return DONE if built.package.manifest.proved else FAIL


def _labels(arguments: Namespace) -> Labels | None:
    """The labelled images, read before anything else is done; None where none were named.

    Raises:
        BenchFaultError: labels without images, or labels that cannot be used.
    """
    if arguments.images is not None:
        if arguments.labels is None and not arguments.labels_from_folders:
            raise BenchFaultError(["--images: needs --labels CSV or --labels-from-folders"])
        return labels_of(arguments)
    if arguments.labels is not None:
        raise BenchFaultError(["--labels: needs --images, the folder that its files lie in"])
    return None


def _finished(arguments: Namespace, made: Package, speed: Speed, scratch: Path) -> Package:
    """The package in its place: latencies in the report, advice, and signed if there is a key."""
    out = scratch / "package" if is_archive(arguments.out) else arguments.out
    with revised(made, out, arguments.sign) as revision:
        if speed.latencies:
            revision.report(LATENCY, latency_section(speed.latencies))
        target_ms = arguments.target_ms
        best = _advised(made.manifest, speed, target_ms)
        if best is not None and target_ms is not None:
            revision.manifest = advised(made.manifest, best, target_ms)
    if is_archive(arguments.out):
        write_archive(out, arguments.out)
    return load_package(arguments.out, allow_unsigned=True, store=scratch / "unpacked")


def _advised(manifest: Manifest, speed: Speed, target_ms: float | None) -> MeasuredLatency | None:
    """The setting that meets the target, of the precisions that were proved."""
    if target_ms is None:
        return None
    return chosen([one for one in speed.latencies if one.precision in manifest.proved], target_ms)


def _summary(built: Built) -> dict[str, Any]:
    made = built.package
    return {
        "package": made.manifest.label,
        "sha256": made.sha256,
        "used": len(built.calibration.tensors),
        "not_used": len(built.calibration.refused),
        "parity": [
            part.model_dump(mode="json", exclude_none=True) for part in made.manifest.parity
        ],
        "left_out": made.manifest.left_out,
        "evidence": made.manifest.evidence is not None,
        "latencies": [asdict(latency) for latency in built.speed.latencies],
        "ratio_to_benchmark_app": built.speed.ratios,
        "seconds": {name: round(spent, 1) for name, spent in built.clock.seconds.items()},
        "verdict": verdict_of(made.manifest),
    }


def _screen(built: Built, target_ms: float | None) -> list[str]:
    """What an engineer reads at the end, on one screen."""
    made, calibration = built.package, built.calibration
    manifest = made.manifest
    lines = [
        f"{manifest.label}  {built.out}",
        f"source      {manifest.source.file} ({manifest.source.framework})",
        f"calibrated  on {len(calibration.tensors)}, {len(calibration.refused)} not usable",
    ]
    for part in manifest.parity:
        lines += _parity_lines(part)
    if manifest.triage is None:
        lines.append(f"proof       none: {no_proof_yet(manifest.role)}")
    elif not any(part.verdict for part in manifest.parity):
        lines.append("AUC         not proved: no labelled images were given (--images, --labels)")
        lines += [_point_line(point) for point in manifest.operating_points]
    lines += [f"left out    {told}" for why in manifest.left_out.values() for told in why]
    because = dict.fromkeys(told for part in manifest.parity for told in part.because)
    lines += [f"not proved  {told}" for told in because]
    accepted = next((p.accepted_auc_loss for p in manifest.parity if p.accepted_auc_loss), None)
    if accepted is not None:
        lines.append(f"accepted    a loss of AUC of up to {accepted:g}: it stands in the manifest")
    if built.witness_missing and manifest.triage is not None:
        lines.append(
            "preparation compared with nothing: --expected scores.csv of your own pipeline"
        )
    lines += built.evidence.lines
    lines += _speed_lines(built, target_ms)
    seconds, proved = built.clock.seconds, manifest.proved
    lines += [
        f"signed      {'yes' if (made.folder / SIGNATURE).is_file() else 'no'}",
        "seconds     " + ", ".join(f"{name} {spent:.0f}" for name, spent in seconds.items()),
        f"report      {report_beside(built.out) if is_archive(built.out) else built.out / REPORT}",
        f"verdict: {verdict_of(manifest)}" + (f" ({', '.join(proved)})" if proved else ""),
    ]
    return lines


def verdict_of(manifest: Manifest) -> ProofVerdict:
    """Of what a unit would run: `pass` where the default precision is proved."""
    return ProofVerdict.PROVED if manifest.proved else ProofVerdict.NOT_PROVED


def _parity_lines(part: Parity) -> list[str]:
    """One precision: how far from the source, and what it gives at every operating point."""
    on = f" on {part.images} images" + ("" if part.verdict is None else f": {part.verdict}")
    lines = [f"{part.precision:11} at most {part.largest_score_difference:.4f} from the source{on}"]
    if part.auc_difference is not None and part.auc_difference_ci95 is not None:
        low, high = part.auc_difference_ci95
        lines.append(f"            AUC {part.auc_difference:+.4f} ({low:+.4f} to {high:+.4f})")
    lines += [
        f"            {point.name}: sensitivity"
        f" {shown_figure(point.sensitivity, point.sensitivity_ci95)}"
        f" (lost {point.positives_lost}, won {point.positives_won}), specificity"
        f" {shown_figure(point.specificity, point.specificity_ci95)}"
        f" (lost {point.negatives_lost}, won {point.negatives_won})"
        for point in part.points
    ]
    return lines


def _point_line(point: OperatingPoint) -> str:
    told = (
        f"sensitivity {shown_figure(point.sensitivity, point.sensitivity_ci95)}, "
        f"specificity {shown_figure(point.specificity, point.specificity_ci95)}"
    )
    measured = point.sensitivity is not None or point.specificity is not None
    return f"point       {point.name} {point.threshold:.3f}: {told if measured else 'not measured'}"


def _speed_lines(built: Built, target_ms: float | None) -> list[str]:
    lines = []
    for one in built.speed.latencies:
        if one.hint != "LATENCY":
            continue
        ratio = built.speed.ratios.get(one.precision)
        told = f", {ratio:.2f} times benchmark_app's" if ratio else ""
        lines.append(
            f"latency     {one.precision}: median {one.median_ms:.1f} ms{told},"
            f" p95 {one.p95_ms:.1f} ms"
        )
    if target_ms is not None:
        best = _advised(built.package.manifest, built.speed, target_ms)
        told = (
            "met by nothing proved" if best is None else f"{best.precision}, {best.hint}: advised"
        )
        lines.append(f"target      {target_ms:g} ms: {told}")
    return lines
