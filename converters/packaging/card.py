"""CARD.md: what a package is, where it came from, and what it must not be used for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.manifest import ProofVerdict

if TYPE_CHECKING:
    from models.histogram import ScoreHistogram
    from models.manifest import Manifest, OperatingPoint, Parity
    from models.package_role import PackageRole


def write_card(manifest: Manifest, histogram: ScoreHistogram) -> str:
    """A card from what the manifest knows; an engineer's own text replaces it."""
    lines = [
        f"# {manifest.label}",
        "",
        f"**Intended use.** {manifest.intended_use}",
        "",
        f"- Source: `{manifest.source.file}` ({manifest.source.framework})",
        f"- SHA-256 of the source: `{manifest.source.sha256}`",
        f"- Licence of the weights: {manifest.source.licence}",
        f"- Role: {manifest.role}",
        f"- Scope: {manifest.scope}; exam rule: {manifest.exam_rule}",
        f"- Accepts: {', '.join(manifest.accepts.presentation_intents)}",
        f"- Views: {', '.join(manifest.accepts.views)}",
        f"- Film: {'yes' if manifest.accepts.film else 'no'}",
        "",
        *_points(manifest),
        "",
        "## Parity with the source model",
        "",
        "| precision | device | images | largest difference | AUC difference (95 % CI) | proof |",
        "|---|---|---|---|---|---|",
        *(_parity(parity) for parity in manifest.parity),
        *(f"\nLeft out: {told}." for why in manifest.left_out.values() for told in why),
        "",
        f"Score histogram (`reference.json`): {histogram.images} images, {histogram.measured_on}.",
        "",
    ]
    return "\n".join(lines)


def no_proof_yet(role: PackageRole) -> str:
    """Why a package of another role than triage is not proved."""
    return f"the bench has no proof yet for packages of the role {role}; it flags nothing"


def _points(manifest: Manifest) -> list[str]:
    """What is held against a threshold, and what it gave; in other roles that there is nothing."""
    if manifest.triage is None:
        return ["## Proof", "", f"None: {no_proof_yet(manifest.role)}."]
    return [
        "## Operating points",
        "",
        "| name | threshold | sensitivity (95 % CI) | specificity (95 % CI) | measured on |",
        "|---|---|---|---|---|",
        *(_row(point) for point in manifest.operating_points),
    ]


def _parity(parity: Parity) -> str:
    interval = parity.auc_difference_ci95
    auc = "not measured"
    if parity.auc_difference is not None and interval is not None:
        auc = f"{parity.auc_difference:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"
    if parity.accepted_auc_loss is not None:
        auc += f"; a loss of up to {parity.accepted_auc_loss:g} was accepted"
    return (
        f"| {parity.precision} | {parity.device} | {parity.images} "
        f"| {parity.largest_score_difference:.4f} | {auc} | {proof_word(parity)} |"
    )


def proof_word(parity: Parity) -> str:
    """What labelled images say of a precision."""
    if parity.verdict is None:
        return "not proved: on no labelled images"
    told = "proved" if parity.verdict is ProofVerdict.PROVED else "not proved"
    return f"{told} on {parity.images}, {parity.positives} positive"


def _row(point: OperatingPoint) -> str:
    return (
        f"| {point.name} | {point.threshold:.3f} "
        f"| {shown_figure(point.sensitivity, point.sensitivity_ci95)} "
        f"| {shown_figure(point.specificity, point.specificity_ci95)} "
        f"| {point.measured_on or 'not measured'} |"
    )


def shown_figure(value: float | None, interval: tuple[float, float] | None) -> str:
    """A share and its interval; `not measured` where there is none."""
    if value is None:
        return "not measured"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval[0]:.3f}-{interval[1]:.3f})"
