"""Asks a package about labelled images by the unit's own path, and says why it did not answer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.evaluation.score_cache import Answer
from converters.labelled.image_reading import (
    MAX_PIXELS,
    PICTURE_SUFFIXES,
    ImageRefusedError,
    read_image,
)
from converters.labelled.lesions import peak_place
from converters.labelled.reading_options import notes_of
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.exam_rules.triage_rules import suspicion
from runtime.image.outcome import Job, JobImage, ModelRef, NotAssessed
from runtime.image.reasons import Reason
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelLimits
from runtime.preprocessing.preparation import prepare, prepare_region
from runtime.worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from converters.labelled.labels import LabelledImage
    from converters.labelled.reading_options import EvaluationOptions
    from converters.labelled.scored_subject import Question, ScoredSubject
    from models.manifest import InputPort, Manifest, Triage
    from models.preparation_recipe import Recipe
    from runtime.image.header import Laterality
    from runtime.image.outcome import Execution
    from runtime.image.prediction import Engine, Prediction
    from runtime.preprocessing.model_input import ModelInput

TOLD_BY_NOTES = {Reason.SPACING_UNKNOWN, Reason.LATERALITY_MISSING, Reason.VIEW_UNKNOWN}
"""What a CSV or an option may say in place of a DICOM file."""


class Panel:
    """An engine that asks several engines the same question and keeps every answer."""

    def __init__(self, members: Mapping[str, Engine]) -> None:
        self._members = dict(members)
        self.answers: dict[str, Prediction] = {}

    @property
    def execution(self) -> Execution:
        """That of the last member."""
        return list(self._members.values())[-1].execution

    def infer(self, tensors: Mapping[str, NDArray[np.generic]]) -> Prediction:
        """Ask every member. Raises EngineFaultError."""
        self.answers = {name: member.infer(tensors) for name, member in self._members.items()}
        return list(self.answers.values())[-1]


class LabelledInference:
    """A package and several engines of it, asked about subject after subject."""

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Engine],
        options: EvaluationOptions,
        *,
        locates: bool = False,
    ) -> None:
        """With `locates`, answers say whether the map's peak lies in a lesion of known place.

        Raises:
            BenchFaultError: the package's role is not triage.
        """
        if manifest.triage is None:
            told = (
                f"{manifest.label}: its role is {manifest.role}; labelled images are asked of"
                " packages of the role triage only, other kinds cannot be proved yet"
            )
            raise BenchFaultError([told])
        self._manifest, self._triage = manifest, manifest.triage
        self._options = options
        self._panel = Panel(engines)
        self._ports: dict[str, InputPort] = {port.view: port for port in manifest.inputs}
        # A map belongs to one image, and a piece of a view has no place on one.
        has_map = manifest.evidence is not None and len(manifest.inputs) == 1
        self._locates = locates and has_map and not options.regions
        self._model_input: ModelInput | None = None
        self._pipeline = Pipeline(
            manifest=manifest,
            model=_model_ref(manifest, manifest.triage),
            engine=self._panel,
            max_pixels=MAX_PIXELS,
        )

    def answer(self, subject: ScoredSubject) -> Answer:
        """The suspicion by every engine, or why there is none. Raises EngineFaultError.

        Two images of one view count with the higher score, as in an exam.
        """
        if subject.missing:
            return Answer(scores={}, reason=Reason.VIEW_NOT_RECEIVED)
        scores: dict[str, float] = {}
        reason = ""
        for question in subject.questions():
            self._panel.answers = {}
            self._model_input = None
            lateralities, refused = self._ask(question)
            reason = reason or refused
            for name, prediction in self._panel.answers.items():
                asked = [suspicion(prediction, self._triage, side) for side in lateralities]
                scores[name] = max([*asked, scores.get(name, 0.0)])
        found = None
        if self._locates and scores:
            # One input: the last question was the only one, and about the only image.
            found = self._peak_in_lesion(subject.images[0].image)
        return Answer(scores=scores, reason="" if scores else reason, peak_in_lesion=found)

    def _peak_in_lesion(self, image: LabelledImage) -> bool | None:
        """Of the map that was just made of `image`; None where no place of a lesion is known."""
        evidence = next(reversed(self._panel.answers.values())).evidence
        if evidence is None or not image.lesions:
            return None
        recipe = self._manifest.recipe_for(self._ports["any"])
        place = peak_place(evidence, self._model_input or self._laid_out(image, recipe), recipe)
        return any(lesion.holds(*place) for lesion in image.lesions)

    def _laid_out(self, image: LabelledImage, recipe: Recipe) -> ModelInput:
        """How the pipeline's input, which it keeps to itself, lies on an image that it judged."""
        mammogram = load_mammogram(open_image(image.path), PixelLimits(pixels=MAX_PIXELS))
        found = assess_pixels(mammogram, self._manifest.accepts, recipe)
        return prepare(found.mammogram or mammogram, recipe, breast=found.breast)

    def _ask(self, question: Question) -> tuple[list[Laterality | None], str]:
        """The images' lateralities, and why they were not assessed or ""."""
        pictures = any(image.path.suffix.lower() in PICTURE_SUFFIXES for _, image in question)
        if pictures or self._options.regions:
            return self._ask_prepared(question)
        job = Job(
            job_id=0,
            package_sha256="",
            precision="",
            images=tuple(
                JobImage(image_id=number, path=str(image.path), slot=slot)
                for number, (slot, image) in enumerate(question)
            ),
        )
        judged = self._pipeline.judge_job(job).images
        reasons = [
            reason
            for one in judged
            if isinstance(one.outcome, NotAssessed)
            for reason in one.outcome.reasons
            if reason is not Reason.COMPANION_NOT_ASSESSED
        ]
        if reasons and set(reasons) <= TOLD_BY_NOTES:
            return self._ask_prepared(question)
        lateralities = [one.header.laterality if one.header else None for one in judged]
        return lateralities, reasons[0] if reasons else ""

    def _ask_prepared(self, question: Question) -> tuple[list[Laterality | None], str]:
        """The same steps after another reader, with what the CSV says of the images."""
        tensors: dict[str, NDArray[np.generic]] = {}
        lateralities: list[Laterality | None] = []
        for slot, image in question:
            port = self._ports[slot]
            recipe = self._manifest.recipe_for(port)
            try:
                mammogram = read_image(image.path, notes_of(image, self._options))
            except ImageRefusedError as refused:
                return [], refused.reason
            lateralities.append(mammogram.header.laterality)
            if self._options.regions:
                tensors[port.tensor] = prepare_region(mammogram, recipe).tensor
                continue
            found = assess_header(mammogram.header, self._manifest.accepts, recipe)
            if found.suitable:
                found = assess_pixels(mammogram, self._manifest.accepts, recipe)
            if found.reasons:
                return [], found.reasons[0]
            shown = found.mammogram or mammogram
            self._model_input = prepare(shown, recipe, breast=found.breast)
            tensors[port.tensor] = self._model_input.tensor
        self._panel.infer(tensors)
        return lateralities, ""


def key_of_files(paths: tuple[Path, ...]) -> str:
    """The first half of the SHA-256 of a file, or of several files' together: no name is in it."""
    digests = []
    for path in paths:
        with path.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0][:16]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def key_of_notes(subject: ScoredSubject) -> str:
    """Of what the table says of a subject's images: an answer depends on it as on the files."""
    said = json.dumps([[slotted.slot, *slotted.image.notes] for slotted in subject.images])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _model_ref(manifest: Manifest, triage: Triage) -> ModelRef:
    """What the pipeline stamps on results that nobody will see."""
    point = triage.operating_points[0]
    return ModelRef(
        name=manifest.name,
        version=manifest.version,
        package_sha256="",
        operating_point=point.name,
        threshold=point.threshold,
        precision="",
    )
