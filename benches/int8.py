"""`python -m benches.int8 SOURCE --lesions DIR --views DIR`: the reference and its source.

In one run: INT8 against ONNX Runtime FP32 in speed (alternately, medians) and in AUC on lesions of
patients that never trained; and FP32 from ONNX Runtime against FP32 IR from DICOM files through
the runtime's whole pipeline.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

import converters
from converters.evaluation.agreement import SOURCE
from converters.evaluation.inference_on_labelled import LabelledInference
from converters.evaluation.verification import SourceEngine, verify
from converters.importing.graph_run import compile_on_cpu
from converters.importing.imported_model import ImportedModel, import_model
from converters.importing.ir_files import save_ir
from converters.importing.recipe import read_recipe
from converters.labelled.image_reading import (
    PICTURE_SUFFIXES,
    ImageRefusedError,
    SideNotes,
    read_image,
    side_notes,
)
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subjects import subjects_of
from converters.progress import progress_bar
from models.package import Package, load_package
from runtime.cli.init import reference_package
from runtime.image.outcome import Execution
from runtime.inference.engine import PackageEngine, open_engine
from tests.support.synthetic import mammogram_dataset, write

BENCH = Path(converters.__file__).parent
PATIENT = re.compile(r"P_\d{5}")
GOAL_SPEED, GOAL_AUC, GOAL_SCORE = 2.5, 0.005, 1e-4


@dataclass(frozen=True)
class Rivals:
    """The source model in its own framework, and the package's precisions."""

    package: Package
    model: ImportedModel
    fp32: PackageEngine
    int8: PackageEngine


def rivals(source: Path, scratch: Path) -> Rivals:
    """The reference package, and FP32 IR that is converted here and now."""
    package = load_package(reference_package(), allow_unsigned=True)
    model = import_model(source, read_recipe(BENCH / "recipes" / "reference.toml"))
    if model.source_sha256 != package.manifest.source.sha256:
        sys.exit(f"{source.name}: the reference package was not made from it")
    save_ir(model.graph, scratch, "fp32")
    execution = Execution(requested_device="CPU", actual_device="CPU", executed_precision="f32")
    graph = compile_on_cpu(scratch / "fp32.xml", "f32")
    return Rivals(
        package=package,
        model=model,
        fp32=PackageEngine(package.manifest, graph, execution),
        int8=open_engine(package, "int8", ("CPU",), None),
    )


def speed(found: Rivals, runs: int) -> dict[str, float]:
    """Median ms of ONNX Runtime FP32 and of INT8, on the same input, alternately."""
    (port,) = found.package.manifest.inputs
    given = {port.tensor: np.random.default_rng(1).normal(0, 1, port.shape).astype(np.float32)}
    taken: dict[str, list[float]] = {"onnxruntime_fp32": [], "int8": []}
    for _ in range(runs + 2):
        for name, run in (("onnxruntime_fp32", found.model.run_source), ("int8", found.int8.infer)):
            started = time.perf_counter()
            run(given)
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: round(median(times[2:]), 1) for name, times in taken.items()}


def held_out(lesions: Path, scratch: Path, limit: int) -> Labels:
    """Up to `limit` crops of patients that validate, spread over the sorted file names."""
    with (BENCH / "training" / "split.csv").open(newline="") as lines:
        validate = {
            row["patient"]
            for row in csv.DictReader(lines)
            if row["data_set"] == lesions.name and row["part"] == "validation"
        }
    files = [
        path
        for path in sorted(lesions.rglob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES
        and (found := PATIENT.search(path.name))
        and found[0] in validate
    ]
    places = np.linspace(0, len(files) - 1, min(limit, len(files))).astype(int)
    table = scratch / "lesions.csv"
    with table.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("file", "label"))
        for place in places:
            writer.writerow(
                (files[place].relative_to(lesions).as_posix(), files[place].parent.name)
            )
    return Labels.from_csv(lesions, table)


def accuracy(found: Rivals, labels: Labels) -> dict[str, object]:
    """Difference of AUC of INT8 against the source model, with DeLong's paired interval."""
    options = EvaluationOptions(regions=True)
    bar = progress_bar("lesions", len(labels))
    subjects = subjects_of(found.package.manifest, labels, options)
    verification = verify(
        found.package.manifest,
        found.model.run_source,
        {"int8": found.int8},
        subjects,
        options,
        progress=bar,
    )
    (agreement,) = verification.agreements
    if agreement.auc is None:
        sys.exit("too few lesions of either class")
    return {
        "lesions": agreement.images,
        "malignant": agreement.positives,
        "auc_source": round(agreement.auc.reference, 4),
        "auc_int8": round(agreement.auc.candidate, 4),
        "auc_difference": round(agreement.auc.difference, 4),
        "ci95": [round(end, 4) for end in agreement.auc.ci95],
        "largest_score_difference_int8": round(agreement.largest_score_difference, 4),
    }


def parity(found: Rivals, folders: list[Path], scratch: Path, limit: int) -> dict[str, object]:
    """Largest difference of a score, ONNX Runtime against FP32 IR, from DICOM files."""
    files = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURE_SUFFIXES
    ][:limit]
    views = scratch / "views"
    views.mkdir()
    rows = []
    notes = {folder: side_notes(folder) for folder in folders}
    for number, path in enumerate(files):
        known = notes[path.parent].get(path.name, SideNotes())
        try:
            image = read_image(path, known)
        except ImageRefusedError:
            continue
        ds = mammogram_dataset(
            pixels=image.pixels,
            bits_stored=8,
            window=(128, 256),
            laterality=known.laterality or "L",
            view=known.view or "MLO",
            pixel_spacing_mm=known.pixel_spacing_mm or 0.2,
            seed=number,
        )
        write(ds, views / f"{number}.dcm")
        rows.append(f"{number}.dcm,{'malignant' if number == 0 else 'normal'}\n")
    table = scratch / "views.csv"
    table.write_text("file,label\n" + "".join(rows))
    manifest, options = found.package.manifest, EvaluationOptions()
    labels = Labels.from_csv(views, table)
    members = {SOURCE: SourceEngine(manifest, found.model.run_source), "fp32": found.fp32}
    labelled_inference = LabelledInference(manifest, members, options)
    bar = progress_bar("views", len(labels))
    apart = []
    for number, subject in enumerate(subjects_of(manifest, labels, options), start=1):
        scores = labelled_inference.answer(subject).scores
        if scores:
            apart.append(abs(scores[SOURCE] - scores["fp32"]))
        bar(number)
    return {"views": len(files), "judged": len(apart), "largest_score_difference": max(apart)}


def main() -> None:
    """Print one JSON line; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the ONNX file that the reference was made from")
    parser.add_argument("--lesions", type=Path, required=True)
    parser.add_argument("--views", type=Path, action="append", required=True)
    parser.add_argument("--limit", type=int, default=300, help="lesions (%(default)s)")
    parser.add_argument("--count", type=int, default=100, help="views (%(default)s)")
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        found = rivals(asked.source, scratch)
        milliseconds = speed(found, asked.runs)
        ratio = round(milliseconds["onnxruntime_fp32"] / milliseconds["int8"], 2)
        paired = parity(found, asked.views, scratch, asked.count)
        lesions = accuracy(found, held_out(asked.lesions, scratch, asked.limit))
    met = {
        f"speed at least {GOAL_SPEED}": ratio >= GOAL_SPEED,
        f"AUC within {GOAL_AUC}": abs(float(str(lesions["auc_difference"]))) <= GOAL_AUC,
        f"FP32 within {GOAL_SCORE:g}": float(str(paired["largest_score_difference"])) <= GOAL_SCORE,
    }
    figures = {"ms": milliseconds, "speed": ratio, "int8": lesions, "fp32": paired, "met": met}
    print(json.dumps(figures | {"load": round(os.getloadavg()[0], 1)}))
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
