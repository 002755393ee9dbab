"""report.html: what a conversion came to, in one file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from converters.errors import BenchFaultError
from converters.evaluation.agreement import SOURCE, Case
from converters.evaluation.discrimination import ScoreTally
from converters.evaluation.measured_points import measured_points
from converters.evaluation.proof import worst_of
from converters.labelled.scored_subject import counted_as
from converters.packaging.card import no_proof_yet, shown_figure
from converters.packaging.report_flips import flips_section
from converters.packaging.report_pictures import picture_of, strip
from converters.packaging.report_sections import RECIPE_HEADING, section
from converters.packaging.report_subgroups import FEWEST, subgroup_rows
from converters.packaging.svg_plots import Curve, curves, histogram, scatter
from models.manifest import ProofVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from converters.evaluation.agreement import Agreement
    from converters.evaluation.benchmark import MeasuredLatency
    from converters.evaluation.proof import Margin
    from converters.evaluation.verification import Verification
    from converters.evaluation.witness import ScoreWitness
    from models.manifest import Manifest
    from runtime.pixels.mammogram import Mammogram

LATENCY = "latency"
"""The section that `benchmark` renews."""
LATENCY_COLUMNS = (
    "precision",
    "device",
    "hint",
    "streams",
    "threads",
    "median ms",
    "p95 ms",
    "per second",
    "compile ms",
    "cached start ms",
    "memory MB",
)
STYLE = """body{font-family:sans-serif;max-width:70em;margin:2em auto;color:#222}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}
.plot{display:inline-block;vertical-align:top;margin-right:1em;break-inside:avoid}
.plot h2{font-size:1.2em}
figure{display:inline-block;margin:.5em;vertical-align:top}pre{background:#f4f4f4;padding:1em}
.flip{border:1px solid #ccc;padding:.5em}.flip>div{display:inline-block;margin:0 .5em;
vertical-align:top}
.pass{color:#2e8b57}.fail{color:#c0392b}.open{color:#b7791f}
@media print{body{margin:0;max-width:none}figure,table,svg{break-inside:avoid}
h2,h3{break-after:avoid}}"""
WORD = {ProofVerdict.PROVED: "pass", ProofVerdict.NOT_PROVED: "open", ProofVerdict.FAIL: "fail"}
"""The style of a verdict."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What a report is made of."""

    manifest: Manifest
    verification: Verification | None = None
    margin: Margin | None = None
    latencies: Sequence[MeasuredLatency] = ()
    example: Mammogram | None = None
    """A view on which each step of the recipe is shown: a phantom, nobody's image."""


def write_report(path: Path, reported: Reported) -> None:
    """Write the report.

    Raises:
        BenchFaultError: the disk would not take it.
    """
    try:
        path.write_text(report_html(reported), encoding="utf-8")
    except OSError as fault:
        raise BenchFaultError([f"{path.name}: {fault.strerror or fault}"]) from fault


def report_html(reported: Reported) -> str:
    """The whole page: no script, no link that leaves it, images as data."""
    manifest = reported.manifest
    parts = [
        f"<h1>{escape(manifest.label)}</h1>",
        *_verdict(reported),
        f"<p><b>{escape(manifest.intended_use)}</b></p>",
        f"<p>From <code>{escape(manifest.source.file)}</code>, {manifest.source.framework}.</p>",
        f"<p>SHA-256 of the source: {manifest.source.sha256}.</p>",
    ]
    witness = reported.verification.witness if reported.verification else None
    if manifest.triage is not None:
        parts += _witnessed(witness)
    if reported.verification is not None and reported.margin is not None:
        parts += _verified(reported.verification, reported.margin, manifest)
    else:
        parts += ["<h2>Parity on calibration images</h2>", _parity_table(manifest)]
    if reported.latencies:
        parts.append(section(LATENCY, latency_section(reported.latencies)))
    recipe = manifest.preparation.model_dump_json(indent=1, exclude_none=True)
    parts.append(RECIPE_HEADING)
    if reported.example is not None:
        parts.append(strip(manifest.preparation, reported.example))
    parts.append(f"<pre>{escape(recipe)}</pre>")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none';"
        " img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(manifest.label)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _verdict(reported: Reported) -> list[str]:
    """First of all: what it is worth, and what to do."""
    manifest, verification = reported.manifest, reported.verification
    left_out = [told for why in manifest.left_out.values() for told in why]
    if verification is None or reported.margin is None:
        worst = ProofVerdict.NOT_PROVED
        missing = ["no labelled images were given: --images and --labels"]
        if manifest.triage is None:
            missing = [no_proof_yet(manifest.role)]
    else:
        judgements = reported.margin.judgements(verification)
        kept = [one for one in judgements if one.precision in manifest.precisions] or judgements
        worst = worst_of(kept)
        missing = list(dict.fromkeys(told for one in kept for told in one.because))
    parts = [f"<h2>Verdict: <span class='{WORD[worst]}'>{worst}</span></h2>"]
    for heading, lines in (("What is missing", missing), ("Left out", left_out)):
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            parts.append(f"<h3>{heading}</h3><ul>{items}</ul>")
    return parts


def _witnessed(witness: ScoreWitness | None) -> list[str]:
    """What the preparation was compared with, and where it differs both inputs side by side."""
    if witness is None:
        told = "no scores of the hospital's own pipeline were given (--expected)"
        return [f"<p class='fail'>Preparation was compared with nothing: {told}.</p>"]
    word = "pass" if witness.agrees else "fail"
    parts = [f"<p class='{word}'>{escape(witness.sentence)}</p>"]
    for pair in witness.pairs:
        scores = f"{pair.key}<br>here {pair.ours:.3f}, the hospital {pair.theirs:.3f}"
        if pair.matched is not None:
            scores += f", with {escape(witness.suspect)} {pair.matched:.3f}"
        pictures = "".join(picture_of(tensor) for tensor in pair.inputs)
        parts.append(f"<figure>{pictures}<figcaption>{scores}</figcaption></figure>")
    return parts


def _verified(verification: Verification, margin: Margin, manifest: Manifest) -> list[str]:
    judgements = margin.judgements(verification)
    assessed = [case for case in verification.cases if case.scores]
    names = [agreement.precision for agreement in verification.agreements]
    counted = counted_as(manifest.scope)
    parts = [
        "<h2>Verification</h2>",
        table(["precision", "verdict"], [[one.precision, one.verdict] for one in judgements]),
        f"<p>{len(verification.cases)} labelled {counted}, {len(assessed)} assessed;"
        f" margin of non-inferiority {margin.allowed:g} AUC"
        + (
            f"; <b>accepted loss {margin.accepted_loss:g}</b>"
            if margin.accepted_loss is not None
            else ""
        )
        + ".</p>",
        _agreement_table(verification.agreements),
        "<h2>Flags at each operating point</h2>",
        _flag_table(verification, manifest),
        *_plots(assessed, names, manifest),
        flips_section(verification, manifest),
    ]
    parts += _subgroups(verification, names, manifest)
    if verification.not_assessed:
        rows = [[reason, str(n)] for reason, n in verification.not_assessed.items()]
        parts += ["<h2>Not assessed</h2>", table(["reason", counted], rows)]
    return parts


def _plots(assessed: Sequence[Case], names: Sequence[str], manifest: Manifest) -> list[str]:
    """Beside each other where the page is wide enough."""
    plots = {
        "Scores against the source model's": scatter(
            [
                Curve(
                    name=name,
                    points=[(case.scores[SOURCE], case.scores[name]) for case in assessed],
                )
                for name in names
            ],
            "source",
            "package",
        ),
        "ROC": curves(
            [_roc(name, assessed, manifest) for name in (SOURCE, *names)],
            "1 - specificity",
            "sensitivity",
            diagonal=True,
            told=[
                f"{number} {point.name}: threshold {point.threshold:.4f}"
                for number, point in enumerate(manifest.operating_points, start=1)
            ],
        ),
        "Calibration": curves(
            [_reliability(name, assessed) for name in (SOURCE, *names)],
            "mean score of a tenth of the images",
            "share of them positive",
            diagonal=True,
        ),
    }
    for label, positive in (("negatives", False), ("positives", True)):
        plots[f"Scores of {label}"] = histogram(
            [(name, _scores(assessed, name, positive=positive)) for name in (SOURCE, names[-1])],
            "score",
        )
    return [
        f"<div class='plot'><h2>{escape(heading)}</h2>{plot}</div>"
        for heading, plot in plots.items()
    ]


def _subgroups(verification: Verification, names: Sequence[str], manifest: Manifest) -> list[str]:
    """Sensitivity and specificity count assessed images, the AUC all, as everywhere."""
    rows = subgroup_rows(verification.cases, names, manifest.operating_points)
    if not rows:
        told = f"no column or folder of the labels makes one of {FEWEST} or more"
        return ["<h2>Subgroups</h2>", f"<p>None: {told} {counted_as(manifest.scope)}.</p>"]
    counted = f"{counted_as(manifest.scope)} (positive)"
    heads = ["subgroup", "point", "precision", counted, "AUC", "sensitivity", "specificity"]
    return ["<h2>Subgroups</h2>", table(heads, rows)]


def _scores(cases: Sequence[Case], name: str, *, positive: bool) -> list[float]:
    return [case.scores[name] for case in cases if case.positive is positive]


def _roc(name: str, cases: Sequence[Case], manifest: Manifest) -> Curve:
    """With its operating points, numbered in the manifest's order."""
    tally = ScoreTally()
    for case in cases:
        tally.add(positive=case.positive, score=case.scores[name])
    auc = tally.auc()
    if auc.auc is None:
        return Curve(name=f"{name}: one class only", points=[])
    scores = [np.sort(_scores(cases, name, positive=positive)) for positive in (False, True)]

    def at(threshold: float) -> tuple[float, float]:
        across, up = (1 - np.searchsorted(of, threshold) / of.size for of in scores)
        return float(across), float(up)

    interval = f" ({auc.ci95[0]:.3f} to {auc.ci95[1]:.3f})" if auc.ci95 else ""
    return Curve(
        name=f"{name}: AUC {auc.auc:.3f}{interval}",
        points=[(0.0, 0.0), *map(at, np.unique(np.concatenate(scores))[::-1].tolist())],
        marks=[
            (str(number), at(point.threshold))
            for number, point in enumerate(manifest.operating_points, start=1)
        ],
    )


def _reliability(name: str, cases: Sequence[Case]) -> Curve:
    """Tenths of the images by rising score: what the score says, and how often it is so."""
    ascending = sorted(cases, key=lambda case: case.scores[name])
    parts = np.array_split(np.arange(len(ascending)), min(10, len(ascending)) or 1)
    points = [
        (
            float(np.mean([ascending[n].scores[name] for n in part])),
            float(np.mean([ascending[n].positive for n in part])),
        )
        for part in parts
        if part.size
    ]
    return Curve(name=name, points=points)


def _agreement_table(agreements: Sequence[Agreement]) -> str:
    rows = [
        [
            agreement.precision,
            f"{agreement.largest_score_difference:.2e}",
            f"{agreement.p99_score_difference:.2e}",
            f"{agreement.mean_score_difference:.2e}",
            f"{agreement.auc.difference:+.4f} ({agreement.auc.ci95[0]:+.4f} to"
            f" {agreement.auc.ci95[1]:+.4f})"
            if agreement.auc
            else "too few images",
            f"{agreement.brier[1]:.4f} ({agreement.brier[0]:.4f})",
        ]
        for agreement in agreements
    ]
    columns = [
        "precision",
        "largest difference",
        "99 of 100 within",
        "mean",
        "difference of AUC (95 % CI)",
        "Brier score (source)",
    ]
    return table(columns, rows)


def _flag_table(verification: Verification, manifest: Manifest) -> str:
    """Per operating point and precision: what it gives, and the flags that are not the source's."""
    rows = []
    names = {agreement.precision: agreement for agreement in verification.agreements}
    for name in (SOURCE, *names):
        shown = measured_points(
            manifest.operating_points, verification.cases, precision=name, of=""
        )
        for point in shown:
            row = [
                point.name,
                name,
                shown_figure(point.sensitivity, point.sensitivity_ci95),
                shown_figure(point.specificity, point.specificity_ci95),
            ]
            if name in names:
                flags = names[name].points[point.name]
                row += [
                    f"{flags.positives.lost} lost, {flags.positives.won} won",
                    f"{flags.negatives.lost} lost, {flags.negatives.won} won",
                ]
            rows.append(row + [""] * (6 - len(row)))
    return table(
        ["point", "precision", "sensitivity", "specificity", "positives", "negatives"],
        sorted(rows, key=lambda row: row[0]),
    )


def _parity_table(manifest: Manifest) -> str:
    rows = [
        [part.precision, part.device, str(part.images), f"{part.largest_score_difference:.4f}"]
        for part in manifest.parity
    ]
    return table(["precision", "device", "images", "largest score difference"], rows)


def latency_section(latencies: Sequence[MeasuredLatency]) -> str:
    """A table of measurements, with its heading."""
    rows = [
        [
            one.precision,
            one.device,
            one.hint,
            str(one.streams),
            str(one.threads),
            f"{one.median_ms:.1f}",
            f"{one.p95_ms:.1f}",
            f"{one.per_second:.1f}",
            f"{one.compile_ms:.0f}",
            f"{one.cached_ms:.0f}",
            f"{one.memory_mb:.0f}",
        ]
        for one in latencies
    ]
    return "<h2>Latency</h2>" + table(LATENCY_COLUMNS, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under heads, everything escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
