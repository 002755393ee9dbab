"""A classifier's package with an evidence map added, and what shows that it may be trusted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from converters.errors import BenchFaultError
from converters.explanation.evidence_branch import AddedEvidence, add_evidence
from converters.explanation.occlusion import agreement_with, occlusion_map, patches_for
from converters.importing.graph_run import compile_on_cpu, score_with
from converters.importing.ir_files import read_ir, save_ir
from converters.packaging.package_revision import revised
from models.manifest import Manifest, Scope
from runtime.inference.golden_check import prepared_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from converters.explanation.occlusion import MapAgreement
    from models.manifest import OutputPort
    from models.package import Package
    from runtime.inference.devices import Graph
    from runtime.inference.golden_check import PreparedCase

SCORE_TOLERANCE = 1e-6
"""Largest difference that the further output may make to any golden score."""
AGREEMENT_BOUND = 0.3
"""Mean rank correlation with occlusion below which a map is called weak: what 30 patches without
any relation reach in one of twenty images (Spearman's critical value, one-sided, is 0.306)."""
RUNS = 20


@dataclass(frozen=True, kw_only=True)
class ExplainedPrecision:
    """What was found of one precision."""

    precision: str
    largest_score_difference: float
    """Of golden scores, with the map against without."""
    time_ratio: float
    """Median time of an inference with the map over that without, taken alternately."""
    rank_correlation: float
    """With occlusion, mean over the golden cases."""
    pointing: int
    """Golden cases in which map and occlusion point to the same place."""
    cases: int

    @property
    def agrees(self) -> bool:
        """At or above `AGREEMENT_BOUND`."""
        return self.rank_correlation >= AGREEMENT_BOUND


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The map that a package got, and the figures."""

    added: AddedEvidence
    precisions: tuple[ExplainedPrecision, ...]

    @property
    def weak(self) -> tuple[str, ...]:
        """Precisions whose map agrees too little with occlusion."""
        return tuple(one.precision for one in self.precisions if not one.agrees)

    def lines(self) -> list[str]:
        """For people."""
        port = self.added.port
        grid = f"{port.rows} x {port.columns} cells"
        lines = [
            f"evidence    {self.added.method}, {grid}, from the map of {self.added.features!r}"
        ]
        lines += [
            f"{one.precision:11} scores at most {one.largest_score_difference:.1e} off;"
            f" {one.time_ratio:.2f} times the time without; rank correlation with occlusion"
            f" {one.rank_correlation:.2f}, pointing {one.pointing} of {one.cases}"
            for one in self.precisions
        ]
        lines += [
            f"{name}: agrees too little with occlusion (below {AGREEMENT_BOUND:g}):"
            " do not show this map to a reader"
            for name in self.weak
        ]
        return lines


def why_not(manifest: Manifest) -> str:
    """Why a package gets no map added; "" where it may."""
    if manifest.triage is None:
        return f"its role is {manifest.role}, and the map that is added shows a suspicion"
    if manifest.scope is not Scope.VIEW:
        return (
            f"it judges a whole {manifest.scope}, and an evidence map belongs to one image"
            " (scope view)"
        )
    if manifest.evidence is not None:
        return f"it has an evidence map of its own, {manifest.evidence.tensor!r}"
    if sum(output.suspicion for output in manifest.outputs) > 1:
        return "it has a suspicion for each breast, and a map is that of one score"
    if any(o.complement or o.activation == "exp" or o.axis is not None for o in manifest.outputs):
        return "its score is a complement, a power or a softmax by axis, of which no map is made"
    return ""


def explain(
    package: Package,
    out: Path,
    *,
    version: str,
    signing_key: Path | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Explanation:
    """Add an evidence map to every precision of `package` and write the result to `out`.

    Args:
        package: of scope view, without evidence.
        out: folder of the new package.
        version: of the new package: a unit refuses a changed one under the old version.
        signing_key: without one, the new package is unsigned.
        threads: of the CPU; None leaves the choice to OpenVINO.
        progress: told how many (precision, golden case) pairs are done.

    Raises:
        BenchFaultError: the package gets no map, its network cannot have one, or a score changes.
    """
    refused = why_not(package.manifest)
    if refused:
        raise BenchFaultError([f"explain: {package.manifest.label}: {refused}"])
    (suspicion,) = [output for output in package.manifest.outputs if output.suspicion]
    with revised(package, out, signing_key) as revision:
        added = _added(package, suspicion, revision.folder)
        revision.manifest = _renewed(package.manifest, version, added)
        found: list[ExplainedPrecision] = []
        for name in package.manifest.precisions:
            comparison = Comparison.of(package, revision.folder, added, name, threads)
            found.append(comparison.figures(progress, len(found)))
        explanation = Explanation(added=added, precisions=tuple(found))
        told = "\n".join(f"- {line}" for line in explanation.lines())
        revision.card("evidence", f"## Evidence map\n\nFor readers, never for triage.\n\n{told}")
        listed = "".join(f"<li>{escape(line)}</li>" for line in explanation.lines())
        revision.report("evidence", f"<h2>Evidence map</h2><ul>{listed}</ul>")
    return explanation


def _renewed(manifest: Manifest, version: str, added: AddedEvidence) -> Manifest:
    """The manifest of the new package.

    Raises:
        BenchFaultError: a version that no manifest takes.
    """
    content = manifest.model_dump() | {"version": version, "evidence": added.port}
    try:
        return Manifest.model_validate(content)
    except ValidationError as fault:
        raise BenchFaultError([f"--version {version[:40]!r}: not like 1.2.3"]) from fault


def _added(package: Package, suspicion: OutputPort, folder: Path) -> AddedEvidence:
    """The map, in every precision's graph, written to `folder`."""
    ports = {}
    for name, files in package.manifest.precisions.items():
        graph = read_ir(package.folder / files.xml)
        ports[name] = add_evidence(graph, suspicion)
        save_ir(graph, folder, name)
    first = next(iter(ports.values()))
    other = [name for name, added in ports.items() if added.port != first.port]
    if other:
        raise BenchFaultError([f"{', '.join(other)}: the map has another grid there"])
    return first


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One precision without and with the map, on the golden cases."""

    precision: str
    manifest: Manifest
    added: AddedEvidence
    before: Graph
    after: Graph
    cases: Sequence[PreparedCase]

    @classmethod
    def of(
        cls, package: Package, folder: Path, added: AddedEvidence, name: str, threads: int | None
    ) -> Comparison:
        """Both graphs compiled as a unit would."""
        files = package.precision(name)
        before, after = (
            compile_on_cpu(place / files.xml, files.inference_precision, threads=threads)
            for place in (package.folder, folder)
        )
        return cls(
            precision=name,
            manifest=package.manifest,
            added=added,
            before=before,
            after=after,
            cases=prepared_cases(package, name),
        )

    def figures(self, progress: Callable[[int], None], done: int) -> ExplainedPrecision:
        """What stands in the card.

        Raises:
            BenchFaultError: a score is not what it was.
        """
        apart = max(self._score_difference(case.tensors) for case in self.cases)
        if not apart <= SCORE_TOLERANCE:
            told = f"the further output changes a golden score by {apart:.2g}"
            raise BenchFaultError(
                [f"explain: {self.precision}: {told}, more than {SCORE_TOLERANCE:g}"]
            )
        agreements = []
        for number, case in enumerate(self.cases, start=1):
            agreements.append(self._agreement(case.tensors))
            progress(done * len(self.cases) + number)
        return ExplainedPrecision(
            precision=self.precision,
            largest_score_difference=apart,
            time_ratio=self._time_ratio(),
            rank_correlation=float(np.mean([one.rank_correlation for one in agreements])),
            pointing=sum(one.points_alike for one in agreements),
            cases=len(self.cases),
        )

    def _score_difference(self, tensors: Mapping[str, NDArray[np.generic]]) -> float:
        one, other = (
            score_with(graph, self.manifest, tensors) for graph in (self.before, self.after)
        )
        return max(abs(one[name] - other[name]) for name in one)

    def _agreement(self, tensors: Mapping[str, NDArray[np.generic]]) -> MapAgreement:
        (suspicion,) = [output.score for output in self.manifest.outputs if output.suspicion]
        ((name, tensor),) = tensors.items()
        port = self.added.port
        evidence = self.after.run(tensors)[port.tensor].reshape(port.rows, port.columns).copy()
        occlusion = occlusion_map(
            lambda covered: score_with(self.before, self.manifest, {name: covered})[suspicion],
            tensor,
            *patches_for(port.rows, port.columns),
        )
        return agreement_with(occlusion, evidence)

    def _time_ratio(self) -> float:
        """Alternately, so that what else the machine does falls on both."""
        taken: dict[int, list[float]] = {0: [], 1: []}
        tensors = self.cases[0].tensors
        for _ in range(RUNS):
            for which, graph in enumerate((self.before, self.after)):
                started = time.perf_counter()
                graph.run(tensors)
                taken[which].append(time.perf_counter() - started)
        return float(np.median(taken[1]) / np.median(taken[0]))
