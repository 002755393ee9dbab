"""`mammoedge judge`: flags for files on disk, with no services at all."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.package import load_package
from runtime.cli.displayed_picture import displayed_picture, write_picture
from runtime.cli.explanation import as_table, explain, words_of
from runtime.cli.init import reference_package
from runtime.dicom.other_objects import name_of_other
from runtime.image.header import passed_over
from runtime.image.outcome import Flag, ModelRef, ViewResult
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError
from runtime.inference.engine import open_engine
from runtime.unit.active_model import model_ref
from runtime.worker.pipeline import Look, Pipeline

if TYPE_CHECKING:
    from argparse import Namespace

    from runtime.image.outcome import ImageOutcome
    from runtime.image.witness import Witness
    from runtime.pixels.display import Display

MAX_PIXELS = 64_000_000


@dataclass(frozen=True, kw_only=True)
class FileVerdict:
    """What `judge` says of one file."""

    file: str
    image: ImageOutcome
    stage_ms: dict[str, float]
    explained: tuple[Witness, ...] = ()

    def as_json(self, precision: str, requested: str, pipeline: Pipeline) -> dict[str, Any]:
        """The line of `--json`."""
        outcome, header, looks = self.image.outcome, self.image.header, self.image.descriptors
        execution = outcome.execution or pipeline.execution
        model = outcome.model
        said: dict[str, Any] = {
            "outcome": "not_assessed",
            "reasons": [],
            "score": None,
            "flag": Flag.NOT_ASSESSED,
        }
        if isinstance(outcome, ViewResult):
            said |= {"outcome": "judged", "score": outcome.score, "flag": outcome.flag}
        else:
            said |= {"reasons": outcome.reasons, "detail": outcome.detail}
        line = {
            "file": self.file,
            **said,
            "remarks": outcome.remarks,
            "laterality": header.laterality if header else None,
            "view": header.view if header else None,
            "descriptors": looks and asdict(looks),
            "model": f"{model.name}-{model.version}" if model else None,
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

    def as_text(self) -> str:
        """One line for people; where it is to be explained, the table below it."""
        outcome, header = self.image.outcome, self.image.header
        view = header.view_code if header else "??"
        total_ms = self.stage_ms.get("total", 0.0)
        if isinstance(outcome, ViewResult):
            said = f"{outcome.flag:12} {outcome.score:.3f}"
        else:
            said = f"{Flag.NOT_ASSESSED:12} {', '.join(outcome.reasons)}"
        line = f"{said:42} {view:6} {total_ms:7.0f} ms  {self.file}"
        if not self.explained:
            return line
        return f"{line}\n{as_table(self.explained, words_of(self.image))}\n"


def judge_command(arguments: Namespace) -> int:
    """Judges each file by itself; 0 when every file got an outcome, 1 when the engine failed.

    2 where a file is none, or the picture has no place.
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
        return _judge_files(arguments, pipeline, model, ",".join(devices))


def _judge_files(arguments: Namespace, pipeline: Pipeline, model: ModelRef, requested: str) -> int:
    worst = 0
    for number, file in enumerate(arguments.files, 1):
        if not file.is_file():
            what = "a folder: name its files" if file.is_dir() else "no such file"
            print(f"mammoedge: {file}: {what}", file=sys.stderr)
            worst = 2
            continue
        if name := name_of_other(file):
            _say_passed_over(file, name, as_json=arguments.json)
            continue
        try:
            look, image, stage_ms = _looked_at(arguments, pipeline, file)
        except EngineFaultError as error:
            print(f"mammoedge: {file}: the engine failed: {error}", file=sys.stderr)
            worst = max(worst, 1)
            continue
        explained: tuple[Witness, ...] = ()
        if arguments.explain:
            explained = explain(look, image, pipeline.display)
        verdict = FileVerdict(file=str(file), image=image, stage_ms=stage_ms, explained=explained)
        if arguments.json:
            print(json.dumps(verdict.as_json(model.precision, requested, pipeline)), flush=True)
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
    arguments: Namespace, pipeline: Pipeline, file: Path
) -> tuple[Look, ImageOutcome, dict[str, float]]:
    if arguments.explain or arguments.picture is not None:
        return pipeline.explain_view(file)
    return Look(), *pipeline.judge_view(0, file)


def _picture(arguments: Namespace, number: int, look: Look, display: Display) -> None:
    """Of one file at the place that was asked for; of several with the file's number in it."""
    file, target = arguments.files[number - 1], arguments.picture
    if look.mammogram is None:
        print(f"mammoedge: {file}: no picture, the pixels cannot be had", file=sys.stderr)
        return
    if len(arguments.files) > 1:
        target = target.with_name(f"{target.stem}-{number}{target.suffix}")
    write_picture(target, displayed_picture(look.mammogram, display, look.breast))
