"""Pixels to prediction: from spooled files to outcomes, in one process, without any service.

The pixel worker runs this, `mammoedge judge` runs this, and the bench proves parity through it:
there is one path from a file to a score.
"""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InternalError
from models.manifest import Scope
from runtime.breast_gate.descriptor_measuring import describe
from runtime.breast_gate.suitability import Suitability, assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.exam_rules.job_planning import CHECK_ONLY
from runtime.exam_rules.triage_rules import judge
from runtime.image.header import HeaderRefusedError
from runtime.image.outcome import (
    EVIDENCE_SUFFIX,
    Artefact,
    Finding,
    ImageFinding,
    ImageOutcome,
    JobOutcome,
    NotAssessed,
    ViewResult,
)
from runtime.image.reasons import Reason
from runtime.pixels.decoding import register_decoders
from runtime.pixels.display import display_of
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelLimits, PixelsRefusedError
from runtime.pixels.preview import write_preview
from runtime.preprocessing.preparation import prepare
from runtime.worker.comparison import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.manifest import InputPort, Manifest, Recipe
    from runtime.breast_gate.breast import Breast
    from runtime.breast_gate.displayed_breast import DisplayedBreast
    from runtime.dicom.stored_image import StoredImage
    from runtime.image.descriptors import ImageDescriptors
    from runtime.image.header import ImageHeader
    from runtime.image.outcome import Execution, Job, ModelRef, ViewOutcome
    from runtime.image.prediction import Engine, Prediction
    from runtime.image.reasons import Remark
    from runtime.pixels.display import Display
    from runtime.pixels.mammogram import Mammogram
    from runtime.preprocessing.model_input import ModelInput

LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Stopwatch:
    """Milliseconds by stage, in the order in which the stages were run."""

    stage_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to stage `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent_ms = (time.perf_counter() - started) * 1000
            self.stage_ms[name] = self.stage_ms.get(name, 0.0) + spent_ms


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """How far one got with a file, and all that was seen on the way (`judge --explain`)."""

    image: StoredImage | None = None
    mammogram: Mammogram | None = None
    """As it would be prepared: with the window or table that shows the breast."""
    breast: Breast | None = None
    figures: DisplayedBreast | None = None
    seen: str = ""
    """Where no breast was found: what was seen instead."""
    pixel_fault: str = ""
    """Why there is no mammogram, where the pixels were looked at and cannot be had."""


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """An image that may be judged, or the outcome that says why not."""

    header: ImageHeader | None
    look: Look = field(default_factory=Look, compare=False)
    mammogram: Mammogram | None = None
    breast: Breast | None = None
    descriptors: ImageDescriptors | None = None
    remarks: tuple[Remark, ...] = ()
    outcome: NotAssessed | None = None


class Pipeline:
    """One package on one engine. Only one of the role triage judges; the others find."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        model: ModelRef | None,
        engine: Engine,
        max_pixels: int,
        evidence_maps: bool = False,
        previews: bool = False,
    ) -> None:
        register_decoders()
        self._manifest = manifest
        self._triage = manifest.triage
        self._model = model
        self._engine = engine
        self._limits = PixelLimits(pixels=max_pixels)
        self._evidence_maps = evidence_maps and manifest.evidence is not None
        self._previews = previews
        self._ports = {port.view: port for port in manifest.inputs}

    @property
    def execution(self) -> Execution:
        """Where and how inferences run."""
        return self._engine.execution

    @property
    def judges_single_views(self) -> bool:
        """Whether an image can be judged without any other."""
        return self._manifest.scope is Scope.VIEW

    # --- jobs ------------------------------------------------------------------------------------

    def judge_job(self, job: Job) -> JobOutcome:
        """The outcome of each image of the job, or of its comparison. Raises EngineFaultError."""
        from pathlib import Path

        if job.is_comparison:
            return JobOutcome(job_id=job.job_id, comparison=compare(job, self._limits))
        if len(job.images) == 1 and self.judges_single_views:
            image = job.images[0]
            outcome, stage_ms = self.judge_view(image.image_id, Path(image.path))
            return JobOutcome(job_id=job.job_id, images=(outcome,), stage_ms=stage_ms)
        watch = Stopwatch()
        with watch.stage("total"):
            paths = {image.image_id: Path(image.path) for image in job.images}
            slots = {image.image_id: image.slot for image in job.images}
            assessed = {
                image_id: self._assess(path, self._recipe(slots[image_id]), watch)
                for image_id, path in paths.items()
            }
            outcomes = self._judge_group(assessed, slots, paths, watch)
        images = tuple(
            _image_outcome(image_id, assessed[image_id], outcome)
            for image_id, outcome in outcomes.items()
        )
        return JobOutcome(job_id=job.job_id, images=images, stage_ms=watch.stage_ms)

    @staticmethod
    def as_job_outcome(job: Job, outcome: ImageOutcome, stage_ms: dict[str, float]) -> JobOutcome:
        """The outcome of a view that was judged before its job came."""
        own = replace(outcome, image_id=job.images[0].image_id)
        return JobOutcome(job_id=job.job_id, images=(own,), stage_ms=stage_ms)

    def judge_view(self, image_id: int, path: Path) -> tuple[ImageOutcome, dict[str, float]]:
        """One image by a package of scope `view`, and ms by stage. Raises EngineFaultError."""
        return self._judge_view(image_id, path)[1:]

    def explain_view(self, path: Path) -> tuple[Look, ImageOutcome, dict[str, float]]:
        """The same, with all that was seen. Pixels are looked at even if the header refuses them.

        Raises:
            EngineFaultError: as `judge_view`.
        """
        assessed, outcome, stage_ms = self._judge_view(0, path)
        return self._whole_look(assessed.look), outcome, stage_ms

    def find_view(self, path: Path) -> tuple[ImageFinding, dict[str, float]]:
        """What a package of another role than triage finds. Raises EngineFaultError."""
        return self._find_view(path)[1:]

    def explain_finding(self, path: Path) -> tuple[Look, ImageFinding, dict[str, float]]:
        """The same, with all that was seen, as `explain_view`. Raises EngineFaultError."""
        assessed, found, stage_ms = self._find_view(path)
        return self._whole_look(assessed.look), found, stage_ms

    @property
    def display(self) -> Display:
        """What the package's recipe displays of an image."""
        return display_of(self._recipe("any"))

    def _whole_look(self, look: Look) -> Look:
        """Pixels are looked at even if the header refused them."""
        if look.image is None or look.mammogram is not None:
            return look
        return self._look_at_pixels(look.image)

    def _look_at_pixels(self, image: StoredImage) -> Look:
        try:
            mammogram = load_mammogram(image, self._limits)
        except PixelsRefusedError as error:
            return Look(image=image, pixel_fault=f"{error.reason}: {error.detail}")
        return _looked(image, assess_pixels(mammogram, self._manifest.accepts, self._recipe("any")))

    def _judge_view(
        self, image_id: int, path: Path
    ) -> tuple[Assessed, ImageOutcome, dict[str, float]]:
        watch = Stopwatch()
        with watch.stage("total"):
            assessed = self._assess(path, self._recipe("any"), watch)
            outcome: ViewOutcome
            if assessed.mammogram is None:
                outcome = _why_not(assessed)
            else:
                outcome = self._judge_single(assessed, assessed.mammogram, path, watch)
        return assessed, _image_outcome(image_id, assessed, outcome), watch.stage_ms

    def _find_view(self, path: Path) -> tuple[Assessed, ImageFinding, dict[str, float]]:
        watch = Stopwatch()
        with watch.stage("total"):
            assessed = self._assess(path, self._recipe("any"), watch)
            outcome: Finding | NotAssessed
            if assessed.mammogram is None:
                outcome = _why_not(assessed)
            else:
                prediction, remarks = self._predict(assessed, assessed.mammogram, watch)
                outcome = Finding(
                    role=self._manifest.role,
                    outputs=prediction.scores,
                    execution=prediction.execution,
                    remarks=remarks,
                )
        found = ImageFinding(
            outcome=outcome, header=assessed.header, descriptors=assessed.descriptors
        )
        return assessed, found, watch.stage_ms

    # --- stages ----------------------------------------------------------------------------------

    def _recipe(self, slot: str) -> Recipe:
        """Of the slot's input port; the package's own where an image is only to be checked."""
        port = next((one for view, one in self._ports.items() if view == slot), None)
        return self._manifest.recipe_for(port) if port else self._manifest.preparation

    def _assess(self, path: Path, recipe: Recipe, watch: Stopwatch) -> Assessed:
        """Header, pixels, and whether the image may be judged at all."""
        header, look = None, Look()
        try:
            with watch.stage("read"):
                image = open_image(path)
            header, look = image.header, Look(image=image)
            suitability = assess_header(header, self._manifest.accepts, self._manifest.preparation)
            if suitability.reasons:
                pictures = self._preview_of_refused(image, watch)
                return self._refused(header, suitability, look, artefacts=pictures)
            with watch.stage("decode"):
                mammogram = load_mammogram(image, self._limits)
            with watch.stage("suitability"):
                seen = assess_pixels(mammogram, self._manifest.accepts, recipe)
        except HeaderRefusedError as error:
            return self._refused(None, _fault(error.reason, error.detail), look)
        except PixelsRefusedError as error:
            return self._refused(header, _fault(error.reason, error.detail), look)
        except FileNotFoundError:
            return self._refused(None, _fault(Reason.UNREADABLE, "the file is gone"), look)
        look = _looked(image, seen)
        shown = seen.mammogram or mammogram
        remarks = tuple(dict.fromkeys((*shown.remarks, *suitability.remarks, *seen.remarks)))
        if seen.reasons or seen.breast is None:
            pictures = self._preview(path, shown)
            refused = replace(seen, remarks=remarks)
            return self._refused(header, refused, look, artefacts=pictures)
        with watch.stage("describe"):
            descriptors = describe(shown, seen.breast)
        return Assessed(
            header=header,
            mammogram=shown,
            breast=seen.breast,
            descriptors=descriptors,
            remarks=remarks,
            look=look,
        )

    def _refused(
        self,
        header: ImageHeader | None,
        against: Suitability,
        look: Look,
        artefacts: Iterable[Artefact] = (),
    ) -> Assessed:
        outcome = NotAssessed(
            reasons=against.reasons,
            remarks=tuple(dict.fromkeys(against.remarks)),
            detail=against.detail,
            model=self._model,
            execution=self._engine.execution,
            artefacts=tuple(artefacts),
        )
        return Assessed(header=header, outcome=outcome, look=look)

    def _prepare(
        self, port: InputPort, mammogram: Mammogram, breast: Breast | None, watch: Stopwatch
    ) -> ModelInput:
        with watch.stage("prepare"):
            return prepare(mammogram, self._manifest.recipe_for(port), breast=breast)

    def _infer(self, tensors: dict[str, NDArray[np.generic]], watch: Stopwatch) -> Prediction:
        with watch.stage("infer"):
            return self._engine.infer(tensors)

    def _predict(
        self, assessed: Assessed, mammogram: Mammogram, watch: Stopwatch
    ) -> tuple[Prediction, tuple[Remark, ...]]:
        """Of one view alone."""
        port = self._ports["any"]
        model_input = self._prepare(port, mammogram, assessed.breast, watch)
        prediction = self._infer({port.tensor: model_input.tensor}, watch)
        return prediction, tuple(dict.fromkeys((*assessed.remarks, *model_input.remarks)))

    def _result(
        self, prediction: Prediction, mammogram: Mammogram, remarks: tuple[Remark, ...]
    ) -> ViewResult:
        """The flag of a view: only a package of the role triage has what it is made of."""
        if self._triage is None or self._model is None:
            raise InternalError(
                f"{self._manifest.label}: a package of the role {self._manifest.role} has no flag"
            )
        return judge(prediction, self._triage, self._model, mammogram.header.laterality, remarks)

    def _judge_single(
        self, assessed: Assessed, mammogram: Mammogram, path: Path, watch: Stopwatch
    ) -> ViewResult:
        prediction, remarks = self._predict(assessed, mammogram, watch)
        result = self._result(prediction, mammogram, remarks)
        artefacts: list[Artefact] = []
        with watch.stage("artefacts"):
            artefacts += self._preview(path, mammogram)
            if self._evidence_maps and prediction.evidence is not None:
                evidence = path.with_suffix(EVIDENCE_SUFFIX)
                artefacts.append(write_evidence(evidence, prediction.evidence))
        return replace(result, artefacts=tuple(artefacts))

    def _preview(self, path: Path, mammogram: Mammogram) -> list[Artefact]:
        if not self._previews:
            return []
        try:
            return [write_preview(path, mammogram)]
        except OSError as error:
            # A full disk, say. The picture is a convenience; the judgement stands without it.
            LOG.warning("no preview: %s", error.strerror)
            return []

    def _preview_of_refused(self, image: StoredImage, watch: Stopwatch) -> list[Artefact]:
        """An image that is not to be judged is decoded for its picture alone."""
        if not self._previews:
            return []
        try:
            with watch.stage("decode"):
                mammogram = load_mammogram(image, self._limits)
        except PixelsRefusedError:
            return []
        with watch.stage("artefacts"):
            return self._preview(image.path, mammogram)

    def _judge_group(
        self,
        assessed: dict[int, Assessed],
        slots: dict[int, str],
        paths: dict[int, Path],
        watch: Stopwatch,
    ) -> dict[int, ViewOutcome]:
        """The views of a breast or an exam at once; one unsuitable view leaves none judged."""
        suitable = {
            image_id: item.mammogram
            for image_id, item in assessed.items()
            if item.mammogram is not None
        }
        if len(suitable) < len(assessed) or CHECK_ONLY in slots.values():
            # A suitable view without the others, or one that no input port takes.
            alone = CHECK_ONLY in slots.values()
            rest = Reason.UNSUPPORTED_VIEW if alone else Reason.COMPANION_NOT_ASSESSED
            return {
                image_id: item.outcome or self._left_alone(rest, item, paths[image_id])
                for image_id, item in assessed.items()
            }
        tensors: dict[str, NDArray[np.generic]] = {}
        remarks: dict[int, tuple[Remark, ...]] = {}
        for image_id, mammogram in suitable.items():
            port = self._ports[slots[image_id]]  # type: ignore[index]
            model_input = self._prepare(port, mammogram, assessed[image_id].breast, watch)
            tensors[port.tensor] = model_input.tensor
            remarks[image_id] = tuple(
                dict.fromkeys((*assessed[image_id].remarks, *model_input.remarks))
            )
        prediction = self._infer(tensors, watch)
        results: dict[int, ViewOutcome] = {}
        for image_id, mammogram in suitable.items():
            result = self._result(prediction, mammogram, remarks[image_id])
            artefacts = tuple(self._preview(paths[image_id], mammogram))
            results[image_id] = replace(result, artefacts=artefacts)
        return results

    def _left_alone(self, reason: Reason, image: Assessed, path: Path) -> NotAssessed:
        """The outcome of an image that could be judged with its companions."""
        pictures = () if image.mammogram is None else self._preview(path, image.mammogram)
        return NotAssessed(
            reasons=(reason,),
            model=self._model,
            execution=self._engine.execution,
            artefacts=tuple(pictures),
        )


def _image_outcome(image_id: int, assessed: Assessed, outcome: ViewOutcome) -> ImageOutcome:
    return ImageOutcome(
        image_id=image_id,
        outcome=outcome,
        header=assessed.header,
        descriptors=assessed.descriptors,
    )


def _fault(reason: Reason, detail: str) -> Suitability:
    return Suitability(reasons=(reason,), detail=detail)


def _looked(image: StoredImage, seen: Suitability) -> Look:
    return Look(
        image=image,
        mammogram=seen.mammogram,
        breast=seen.breast,
        figures=seen.figures,
        seen=seen.detail,
    )


def _why_not(assessed: Assessed) -> NotAssessed:
    if assessed.outcome is None:
        raise ValueError("an image without pixels needs an outcome that says why")
    return assessed.outcome


def write_evidence(path: Path, evidence: NDArray[np.float32]) -> Artefact:
    """Writes an evidence map (rows x columns, 0-1) beside the spooled object.

    For readers, never for triage: nothing that is published carries it.
    """
    np.save(path, evidence.astype(np.float16))
    return Artefact(
        kind="evidence", path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )
