"""Labelled images as the subjects of a package: one by one, or gathered by breast or exam."""

from __future__ import annotations

import sqlite3
from itertools import groupby
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.labelled.image_reading import PICTURE_SUFFIXES
from converters.labelled.scored_subject import ScoredSubject, SlottedImage
from models.manifest import Scope
from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from converters.labelled.labels import LabelledImage, Labels
    from converters.labelled.reading_options import EvaluationOptions
    from models.manifest import InputPort, Manifest


def subjects_of(manifest: Manifest, labels: Labels, options: EvaluationOptions) -> ScoredSubjects:
    """The subjects that `labels` hold for a package.

    Raises:
        BenchFaultError: pieces of views for a package that judges several views at once.
    """
    if manifest.scope is not Scope.VIEW and options.regions:
        raise BenchFaultError(
            [f"--regions: {manifest.label} judges a whole {manifest.scope}, not pieces of views"]
        )
    return ScoredSubjects(manifest.scope, manifest.inputs, labels)


class ScoredSubjects:
    """Iterates over subjects; where views are gathered, in a temporary database, not in memory."""

    def __init__(self, scope: Scope, inputs: Sequence[InputPort], labels: Labels) -> None:
        self._scope = scope
        self._wanted = tuple(port.view for port in inputs)
        self._labels = labels
        self._rows: sqlite3.Connection | None = None
        if self._scope is not Scope.VIEW:
            self._rows = self._gathered(labels)

    def __len__(self) -> int:
        if self._rows is None:
            return len(self._labels)
        return int(self._rows.execute("SELECT count(DISTINCT subject) FROM views").fetchone()[0])

    def __iter__(self) -> Iterator[ScoredSubject]:
        if self._rows is None:
            for image in self._labels:
                single = SlottedImage(slot="any", image=image)
                yield ScoredSubject(images=(single,), wanted=self._wanted)
            return
        query = "SELECT subject, slot, image FROM views ORDER BY subject, acquired, image"
        for _, rows in groupby(self._rows.execute(query), key=lambda row: row[0]):
            images = [SlottedImage(slot=slot, image=self._labels.image(n)) for _, slot, n in rows]
            yield ScoredSubject(images=tuple(images), wanted=self._wanted)

    def _gathered(self, labels: Iterable[LabelledImage]) -> sqlite3.Connection:
        rows = sqlite3.connect("")
        rows.execute("CREATE TABLE views (subject TEXT, slot TEXT, acquired TEXT, image INTEGER)")
        rows.executemany("INSERT INTO views VALUES (?, ?, ?, ?)", map(self._place, labels))
        rows.execute("CREATE INDEX by_subject ON views (subject, acquired)")
        return rows

    def _place(self, image: LabelledImage) -> tuple[str, str, str, int]:
        """(subject, slot, time of acquisition, number) of an image.

        An exam is what the CSV's column `exam` says, else the file's Study Instance UID, else the
        CSV's `patient`; an image of which nothing is known is a subject by itself.
        """
        exam, laterality, view, acquired = image.exam, image.laterality, image.view, ""
        if image.path.suffix.lower() not in PICTURE_SUFFIXES:
            try:
                header = open_image(image.path).header
            except HeaderRefusedError:
                pass  # the pipeline will say why it is not assessed
            else:
                exam = exam or header.study_instance_uid
                laterality = header.laterality or laterality
                view = header.view or view
                acquired = header.acquired_at
        exam = exam or image.patient or f"image {image.number}"
        if self._scope is Scope.BREAST:
            return f"{exam}\x1f{laterality}", view, acquired, image.number
        return exam, f"{laterality}{view}", acquired, image.number
