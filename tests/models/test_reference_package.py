"""The package that ships: whole, small, and proved on the machine that runs these tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import models
from models.errors import PackageRefusedError
from models.package import Package, load_package
from runtime.inference.engine import open_engine


@pytest.fixture(scope="module")
def reference() -> Package:
    """models/reference, as an installed package has it."""
    return load_package(Path(models.__file__).parent / "reference")


def test_every_file_is_as_the_manifest_lists_it(reference: Package) -> None:
    """And it is what colleagues and documents call it."""
    assert reference.manifest.name == "mammoedge-reference"
    assert set(reference.manifest.precisions) == {"fp16", "int8"}
    assert "balanced" in {point.name for point in reference.manifest.operating_points}


def test_it_is_trusted_by_its_hash(reference: Package) -> None:
    """Without a signature and without leave; a new one is named in `models/package.py`."""
    assert not reference.signed
    assert reference.trusted, f"SHIPPED_SHA256 is {reference.sha256} now"


def test_a_copy_with_one_changed_byte_is_not(reference: Package, tmp_path: Path) -> None:
    """Another manifest is another package, which needs a key."""
    copy = tmp_path / "copy"
    shutil.copytree(reference.folder, copy)
    assert load_package(copy).trusted
    manifest = copy / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(PackageRefusedError, match="unsigned"):
        load_package(copy)
    assert not load_package(copy, allow_unsigned=True).trusted


def test_it_is_for_research_and_says_so(reference: Package) -> None:
    """In the manifest, where every tool sees it."""
    assert "never for care" in reference.manifest.intended_use


def test_its_weights_are_under_13_mb_and_all_of_it_under_16(reference: Package) -> None:
    """A repository and a unit's flash carry it."""
    sizes = {file.path: file.size_bytes for file in reference.manifest.files}
    assert sum(size for path, size in sizes.items() if path.endswith(".bin")) < 13e6
    assert sum(sizes.values()) < 16e6


@pytest.mark.parametrize(("precision", "executed"), [("int8", "int8"), ("fp16", "f32")])
def test_it_proves_itself_on_this_processor(
    reference: Package, precision: str, executed: str
) -> None:
    """Every golden case, through this machine's preparation, within its tolerance."""
    execution = open_engine(reference, precision, ("CPU",), None).execution
    assert execution.actual_device == "CPU"
    assert execution.executed_precision == executed
    assert execution.fallback_reason == ""


def test_its_evidence_grid_covers_the_input(reference: Package) -> None:
    """Cells of 32 x 32 pixels: the map needs no other geometry."""
    evidence = reference.manifest.evidence
    assert evidence is not None
    *_, rows, columns = reference.manifest.inputs[0].shape
    assert (rows / evidence.rows, columns / evidence.columns) == (32, 32)
