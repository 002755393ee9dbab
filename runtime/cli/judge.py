"""`mammoedge judge`: flags for files on disk, with no services at all."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.package import load_package
from models.package_role import PackageRole
from runtime.cli.displayed_picture import displayed_picture, write_picture
from runtime.cli.explanation import as_table, explain, words_of
from runtime.cli.init import reference_package
from runtime.dicom.other_objects import name_of_other
from runtime.image.header import passed_over
from runtime.image.outcome import Finding, Flag, NotAssessed, ViewResult
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError
from runtime.inference.engine import open_engine
from runtime.unit.active_model import model_ref
from runtime.worker.pipeline import Look, Pipeline

if TYPE_CHECKING:
    from argparse import Namespace

    from models.manifest import Manifest
    from runtime.image.outcome import ImageFinding, ImageOutcome
    from runtime.image.witness import Witness
    from runtime.pixels.display import Display

MAX_PIXELS = 64_000_000


@dataclass(frozen=True, kw_only=True)
class FileVerdict:
    """What `judge` says of one file."""

    file: str
    package: str
    """`NAME-VERSION`."""
    role: PackageRole
    image: ImageOutcome | ImageFinding
    stage_ms: dict[str, float]
    explained: tuple[Witness, ...] = ()

    def as_json(self, precision: str, requested: str, pipeline: Pipeline) -> dict[str, Any]:
        """The line of `--json`."""
        outcome, header, looks = self.image.outcome, self.image.header, self.image.descriptors
        execution = outcome.execution or pipeline.execution
        model = None if isinstance(outcome, Finding) else outcome.model
        line = {
            "file": self.file,
            **self._said(),
            "remarks": outcome.remarks,
            "laterality": header.laterality if header else None,
            "view": header.view if header else None,
            "descriptors": looks and asdict(looks),
            "model": self.package,
            "operating_point": model.operating_point if model else None,
            "threshold": model.threshold if model else None,
            "precision": precision,
            "executed_precision": execution.executed_precision,
            "requested_device": requested,
            "actual_device": execution.actual_device,
            "ms": {stage: round(ms, 2) for stage, ms in self.stage_ms.items()},
        }
        if self.explained:
            words = words_of(self.image)
            line |= {"explained": [asdict(told) for told in self.explained], "words": words}
        return line

    def _said(self) -> dict[str, Any]:
        """What the package says of the image; a flag only in the role triage."""
        outcome = self.image.outcome
        triage = self.role is PackageRole.TRIAGE
        said: dict[str, Any] = {
            "outcome": "not_assessed",
            "reasons": [],
            "score": None,
            "flag": Flag.NOT_ASSESSED if triage else None,
            "findings": {},
        }
        if isinstance(outcome, NotAssessed):
            return said | {"reasons": outcome.reasons, "detail": outcome.detail}
        outputs = outcome.outputs if isinstance(outcome, Finding) else outcome.scores
        said |= {"findings": {self.role: {"package": self.package, "outputs": outputs}}}
        said["outcome"] = "judged"
        if isinstance(outcome, Finding):
            return said
        return said | {"score": outcome.score, "flag": outcome.flag}

    def as_text(self) -> str:
        """One line for people; where it is to be explained, the table below it."""
        outcome, header = self.image.outcome, self.image.header
        view = header.view_code if header else "??"
        total_ms = self.stage_ms.get("total", 0.0)
        if isinstance(outcome, ViewResult):
            said = f"{outcome.flag:12} {outcome.score:.3f}"
        elif isinstance(outcome, Finding):
            said = finding_words(outcome)
        else:
            said = f"{Flag.NOT_ASSESSED:12} {', '.join(outcome.reasons)}"
            if self.role is not PackageRole.TRIAGE:
                said = f"{self.role}: not assessed, {', '.join(outcome.reasons)}"
        line = f"{said:42} {view:6} {total_ms:7.0f} ms  {self.file}"
        if not self.explained:
            return line
        return f"{line}\n{as_table(self.explained, words_of(self.image))}\n"


def judge_command(arguments: Namespace) -> int:
    """Judges each file by itself; 0 when every file got an outcome, 1 when the engine failed.

    2 where the picture has no place.
    A package of another role than triage says what it finds, and gives no flag.
    """
    if arguments.picture is not None and not arguments.picture.parent.is_dir():
        print(f"mammoedge: --picture: no folder {arguments.picture.parent}", file=sys.stderr)
        return 2
    folder = arguments.package or reference_package()
    devices = tuple(arguments.devices or ("CPU",))
    with tempfile.TemporaryDirectory(prefix="mammoedge-") as store:
        package = load_package(folder, allow_unsigned=True, store=Path(store))
        if package.manifest.scope != "view":
            print(
                f"mammoedge: {package.manifest.label} judges a whole {package.manifest.scope};"
                " `judge` takes packages of scope view",
                file=sys.stderr,
            )
            return 2
        precision = arguments.precision or package.manifest.default_precision
        try:
            model = None
            if package.manifest.triage is not None:
                model = model_ref(
                    package, precision=precision, operating_point=arguments.operating_point
                )
            engine = open_engine(package, precision, devices, None, threads=arguments.threads)
        except KeyError as error:
            print(f"mammoedge: --operating-point {error.args[0]}", file=sys.stderr)
            return 2
        except NoUsableDeviceError as error:
            print(f"mammoedge: {error}", file=sys.stderr)
            return 1
        manifest = package.manifest.accepting(tuple(arguments.accept_image_types or ()))
        pipeline = Pipeline(manifest=manifest, model=model, engine=engine, max_pixels=MAX_PIXELS)
        return _judge_files(arguments, pipeline, manifest, precision)


def _judge_files(
    arguments: Namespace, pipeline: Pipeline, manifest: Manifest, precision: str
) -> int:
    requested = ",".join(arguments.devices or ("CPU",))
    worst = 0
    for number, file in enumerate(arguments.files, 1):
        if name := name_of_other(file):
            _say_passed_over(file, name, as_json=arguments.json)
            continue
        try:
            look, image, stage_ms = _looked_at(arguments, pipeline, manifest.role, file)
        except EngineFaultError as error:
            print(f"mammoedge: {file}: the engine failed: {error}", file=sys.stderr)
            worst = max(worst, 1)
            continue
        explained: tuple[Witness, ...] = ()
        if arguments.explain:
            explained = explain(look, image, pipeline.display)
        verdict = FileVerdict(
            file=str(file),
            package=manifest.label,
            role=manifest.role,
            image=image,
            stage_ms=stage_ms,
            explained=explained,
        )
        if arguments.json:
            print(json.dumps(verdict.as_json(precision, requested, pipeline)), flush=True)
        else:
            print(verdict.as_text(), flush=True)
        if arguments.picture is not None:
            _picture(arguments, number, look, pipeline.display)
    return worst


def _say_passed_over(file: Path, name: str, *, as_json: bool) -> None:
    """A DICOM object that is no image has no flag, and is no fault."""
    if not as_json:
        print(f"{passed_over(name)}  {file}", flush=True)
        return
    said = {"file": str(file), "outcome": "passed_over", "reasons": [], "detail": name}
    print(json.dumps({**said, "score": None, "flag": None}), flush=True)


def _looked_at(
    arguments: Namespace, pipeline: Pipeline, role: PackageRole, file: Path
) -> tuple[Look, ImageOutcome | ImageFinding, dict[str, float]]:
    whole = arguments.explain or arguments.picture is not None
    if role is not PackageRole.TRIAGE:
        return pipeline.explain_finding(file) if whole else (Look(), *pipeline.find_view(file))
    return pipeline.explain_view(file) if whole else (Look(), *pipeline.judge_view(0, file))


def finding_words(found: Finding) -> str:
    """`density: C 0.71`: of densities the likeliest, of other roles every output."""
    outputs = list(found.outputs.items())
    if found.role is PackageRole.DENSITY:
        outputs = [max(outputs, key=lambda output: output[1])]
    prefix = f"{found.role}_"
    told = [(name.removeprefix(prefix), score) for name, score in outputs]
    words = [f"{name.upper() if len(name) == 1 else name} {score:.2f}" for name, score in told]
    return f"{found.role}: {', '.join(words)}"


def _picture(arguments: Namespace, number: int, look: Look, display: Display) -> None:
    """Of one file at the place that was asked for; of several with the file's number in it."""
    file, target = arguments.files[number - 1], arguments.picture
    if look.mammogram is None:
        print(f"mammoedge: {file}: no picture, the pixels cannot be had", file=sys.stderr)
        return
    if len(arguments.files) > 1:
        target = target.with_name(f"{target.stem}-{number}{target.suffix}")
    write_picture(target, displayed_picture(look.mammogram, display, look.breast))
