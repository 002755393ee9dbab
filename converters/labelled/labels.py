"""Labels of an evaluation set, from a CSV or from folder names; on disk, not in memory."""

from __future__ import annotations

import csv
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError
from converters.labelled.image_reading import SIDES, bits_of, images_below, spacing_of
from converters.labelled.lesions import COLUMNS, Lesion, lesion_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POSITIVE = "malignant"
RANK = {
    "normal": 0,
    "benign_without_callback": 1,
    "benign": 2,
    POSITIVE: 3,
}
"""The worst of a view's rows is its label."""
NO_SUBGROUP = {
    "file",
    "exam",
    "patient",
    "label",
    "pixel_spacing_mm",
    "bits_stored",
    "note",
    *COLUMNS,
}
MAXIMUM_FAULTS = 20
UNKNOWN = (
    f"is none of the labels {', '.join(RANK)}; --positive WORD,WORD says which labels are positive,"
    " any other is not then"
)
SELECT = (
    "SELECT id, path, rank, subgroups, laterality, view, spacing, bits, exam, patient FROM images"
)


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One image to evaluate."""

    path: Path
    positive: bool
    subgroups: tuple[str, ...]
    """`view=CC`, `mass`, ...: the figures are given for each."""
    laterality: str
    view: str
    pixel_spacing_mm: float | None
    bits_stored: int | None = None
    """Of a PNG or TIFF of 16 bits that does not use all of them."""
    exam: str = ""
    """The CSV's `exam`: which views belong together, where the files do not say it rightly."""
    patient: str = ""
    number: int = 0
    """Of its row, for `Labels.image`."""
    lesions: tuple[Lesion, ...] = ()
    """The malignant ones whose place the CSV gives."""

    @property
    def notes(self) -> tuple[object, ...]:
        """What is said of it that an answer depends on, besides its file."""
        said = (self.laterality, self.view, self.pixel_spacing_mm, self.bits_stored)
        return (*said, self.exam, self.patient)


class Labels:
    """The labelled images, gathered in a temporary database: one row for each image."""

    def __init__(self, images: Path, positive: Sequence[str] = ()) -> None:
        self._images = images
        self._positive = {word.casefold() for word in positive}
        # "" is SQLite's private temporary database, which spills to disk as it grows.
        self._rows = sqlite3.connect("")
        self._rows.execute(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, path TEXT UNIQUE, rank INTEGER,"
            " subgroups TEXT, laterality TEXT, view TEXT, spacing REAL, bits INTEGER, exam TEXT,"
            " patient TEXT)"
        )
        self._rows.execute("CREATE TABLE lesions (path TEXT, row REAL, column REAL, radius REAL)")
        self._rows.execute("CREATE INDEX by_path ON lesions (path)")

    @property
    def name(self) -> str:
        """Of the folder that the images are in."""
        return self._images.name

    @classmethod
    def from_folders(cls, images: Path, positive: Sequence[str] = ()) -> Labels:
        """The last folder's name is the label, those above it (below `images`) are subgroups.

        Links to folders are followed; hidden files and folders are passed over.

        Raises:
            BenchFaultError: no images, no positives, or a folder that is no label.
        """
        labels = cls(images, positive)
        faults: dict[str, None] = {}
        for path in images_below(images):
            within = path.relative_to(images)
            *above, last = within.parent.parts or ("",)
            label = labels._known(last)
            if not last:
                faults[f"{images.name}: its images lie in no folder that names their label"] = None
            elif label is None:
                faults[f"{last}: {UNKNOWN}"] = None
            elif not _is_text(within):
                faults[f"{os.fsencode(within)!r}: the name is no UTF-8"] = None
            else:
                labels._add(within.as_posix(), label, tuple(above), {})
        return labels._checked(list(faults)[:MAXIMUM_FAULTS], named=images.name)

    @classmethod
    def from_csv(cls, images: Path, table: Path, positive: Sequence[str] = ()) -> Labels:
        """Rows with `file` and `label`; a file with several rows has the worst of their labels.

        With `positive`, those labels are what is looked for and any other is not.

        Raises:
            BenchFaultError: with file, row and field of what cannot be used (the first 20).
        """
        labels = cls(images, positive)
        faults: list[str] = []
        try:
            with table.open(encoding="utf-8-sig", newline="") as opened:
                reader = csv.DictReader(opened)
                columns = reader.fieldnames or []
                missing = {"file", "label"} - set(columns)
                if missing:
                    raise BenchFaultError(
                        [f"{table.name}: no column {c!r}" for c in sorted(missing)]
                    )
                for row in reader:
                    try:
                        labels._add_row(row)
                    except ValueError as fault:
                        if len(faults) < MAXIMUM_FAULTS:
                            faults.append(f"{table.name}, line {reader.line_num}: {fault}")
        except (OSError, UnicodeDecodeError, csv.Error) as fault:
            raise BenchFaultError([f"{table.name}: {fault}"]) from fault
        return labels._checked(faults, named=table.name)

    def __iter__(self) -> Iterator[LabelledImage]:
        for row in self._rows.execute(f"{SELECT} ORDER BY path"):
            yield self._read(row)

    def image(self, number: int) -> LabelledImage:
        """The image of that number."""
        return self._read(self._rows.execute(f"{SELECT} WHERE id = ?", (number,)).fetchone())

    def _read(self, row: tuple[Any, ...]) -> LabelledImage:
        number, path, rank, subgroups, laterality, view, spacing, bits, exam, patient = row
        return LabelledImage(
            path=self._images / path,
            positive=rank == RANK[POSITIVE],
            subgroups=tuple(subgroups.split("\x1f")) if subgroups else (),
            laterality=laterality,
            view=view,
            pixel_spacing_mm=spacing,
            bits_stored=bits,
            exam=exam,
            patient=patient,
            number=number,
            lesions=self._lesions(path),
        )

    def _lesions(self, path: str) -> tuple[Lesion, ...]:
        query = "SELECT row, column, radius FROM lesions WHERE path = ?"
        return tuple(
            Lesion(row_px=row, column_px=column, radius_px=radius)
            for row, column, radius in self._rows.execute(query, (path,))
        )

    def __len__(self) -> int:
        return int(self._rows.execute("SELECT count(*) FROM images").fetchone()[0])

    def _add_row(self, row: dict[str, str]) -> None:
        """Add a row of the CSV. Raises ValueError: what is wrong with it."""
        name, word = (row.get("file") or "").strip(), (row.get("label") or "").strip()
        label = self._known(word)
        if label is None:
            raise ValueError(f"label {word[:40]!r} {UNKNOWN}")
        path = Path(name)
        if not name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"file {name[:80]!r} does not lie below the folder of images")
        if not (self._images / path).is_file():
            raise ValueError(f"file {name[:80]!r} does not exist")
        lesion = lesion_of(row)
        groups = tuple(
            f"{column}={value.strip()}"
            for column, value in row.items()
            if column and column not in NO_SUBGROUP and isinstance(value, str) and value.strip()
        )
        self._add(path.as_posix(), label, groups, row)
        if lesion is not None and label == POSITIVE:
            self._rows.execute(
                "INSERT INTO lesions VALUES (?, ?, ?, ?)",
                (path.as_posix(), lesion.row_px, lesion.column_px, lesion.radius_px),
            )

    @property
    def positives(self) -> int:
        """How many images are positive."""
        query = "SELECT count(*) FROM images WHERE rank = ?"
        return int(self._rows.execute(query, (RANK[POSITIVE],)).fetchone()[0])

    def _known(self, word: str) -> str | None:
        """One of our labels; None for a word that is none."""
        label = word.strip().casefold()
        if self._positive:
            return None if not label else POSITIVE if label in self._positive else "benign"
        return label if label in RANK else None

    def _add(self, name: str, label: str, subgroups: tuple[str, ...], row: dict[str, str]) -> None:
        """Add a row of an image: the worst one says what it is, any of them fills what it knows.

        Raises:
            ValueError: what is wrong with the row.
        """
        side = (row.get("laterality") or "").strip().upper()
        self._rows.execute(
            "INSERT INTO images"
            " (path, rank, subgroups, laterality, view, spacing, bits, exam, patient)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET"
            " subgroups = CASE WHEN excluded.rank > rank THEN excluded.subgroups"
            " ELSE subgroups END,"
            " rank = max(rank, excluded.rank),"
            " laterality = coalesce(nullif(laterality, ''), excluded.laterality),"
            " view = coalesce(nullif(view, ''), excluded.view),"
            " spacing = coalesce(spacing, excluded.spacing),"
            " bits = coalesce(bits, excluded.bits),"
            " exam = coalesce(nullif(exam, ''), excluded.exam),"
            " patient = coalesce(nullif(patient, ''), excluded.patient)",
            (
                name,
                RANK[label],
                "\x1f".join(subgroups),
                SIDES.get(side, side),
                (row.get("view") or "").strip().upper(),
                spacing_of(row),
                bits_of(row),
                (row.get("exam") or "").strip(),
                (row.get("patient") or "").strip(),
            ),
        )

    def _checked(self, faults: list[str], *, named: str) -> Labels:
        if not faults and len(self) == 0:
            faults.append(f"{named}: no labelled images")
        if not faults and self.positives == 0:
            looked_for = " or ".join(sorted(self._positive)) or POSITIVE
            faults.append(f"{named}: no image is labelled {looked_for}")
        if faults:
            raise BenchFaultError(faults)
        return self


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
