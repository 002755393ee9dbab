"""PNG, JPEG and TIFF as mammograms: what they cannot say is told, taken from them, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.labelled import image_reading
from converters.labelled.image_reading import ImageRefusedError, SideNotes, read_image, side_notes
from runtime.image.header import Laterality
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, highest: int, dtype: type) -> Path:
    """A PNG of 4 x 4 pixels from 0 to `highest`."""
    assert cv2.imwrite(str(path), np.linspace(0, highest, 16).reshape(4, 4).astype(dtype))
    return path


@pytest.mark.parametrize(
    ("highest", "dtype", "told", "bits"),
    [
        (255, np.uint8, None, 8),
        (17, np.uint8, None, 8),
        (255, np.uint8, 12, 8),
        (4095, np.uint16, None, 12),
        (2100, np.uint16, 12, 12),
        (2100, np.uint16, 16, 16),
        (65535, np.uint16, None, 16),
        (17, np.uint16, None, 8),
    ],
)
def test_stored_bits_are_told_or_those_that_are_used(
    tmp_path: Path, highest: int, dtype: type, told: int | None, bits: int
) -> None:
    """12 bits of a detector that lie in 16 would else be sixteen times too dark."""
    image = read_image(written(tmp_path / "a.png", highest, dtype), SideNotes(bits_stored=told))
    assert image.bits_stored == bits
    assert image.pixels.max() == highest


def test_more_bits_than_told_are_refused(tmp_path: Path) -> None:
    """What the table says cannot be so."""
    path = written(tmp_path / "a.png", 4096, np.uint16)
    with pytest.raises(ImageRefusedError, match="13 bits, where bits_stored is 12") as refused:
        read_image(path, SideNotes(bits_stored=12))
    assert refused.value.reason is Reason.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("bits", ["0", "-3", "40", "12.5"])
def test_bits_that_are_none_are_named(tmp_path: Path, bits: str) -> None:
    """By the table's name, before any image is read."""
    (tmp_path / "labels.csv").write_text(f"file,bits_stored\na.png,{bits}\n")
    with pytest.raises(BenchFaultError, match=f"labels.csv: bits_stored '{bits}' is no whole"):
        side_notes(tmp_path)


def test_a_picture_has_the_unit_s_limit_of_pixels(tmp_path: Path, monkeypatch) -> None:
    """As a DICOM file has."""
    path = written(tmp_path / "a.png", 255, np.uint8)
    monkeypatch.setattr(image_reading, "MAX_PIXELS", 15)
    with pytest.raises(ImageRefusedError) as refused:
        read_image(path, SideNotes())
    assert refused.value.reason is Reason.TOO_LARGE


def test_the_table_beside_images_is_read_with_its_words_for_sides(tmp_path: Path) -> None:
    """LEFT and RIGHT as CBIS-DDSM writes them; what one row leaves empty another says."""
    (tmp_path / "labels.csv").write_text(
        "file,laterality,bits_stored\na.png,left,\na.png,,12.0\na.png,RIGHT,16\n"
    )
    assert side_notes(tmp_path) == {"a.png": SideNotes(laterality=Laterality.LEFT, bits_stored=12)}
