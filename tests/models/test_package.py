"""A package on disk: loaded whole, or refused with every fault."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.packaging.signing_keys import make_key_pair, sign
from models.errors import PackageRefusedError
from models.golden import GoldenCase, GoldenFacts, GoldenImage, GoldenRecord, write_golden_case
from models.histogram import ScoreHistogram
from models.package import load_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete package with files of noise for a graph: loading never opens a graph."""
    folder = tmp_path / "tiny-1.0.0"
    (folder / "golden").mkdir(parents=True)
    for name in ("fp32.xml", "fp32.bin", "CARD.md"):
        (folder / name).write_text(f"the content of {name}")
    histogram = ScoreHistogram.of("suspicion", [0.1, 0.9, 1.0], measured_on="noise")
    (folder / "reference.json").write_text(histogram.model_dump_json())
    for number in range(3):
        write_golden_case(folder / "golden" / f"{number}.npz", golden_case(f"case-{number}"))
    write_manifest(folder)
    return folder


def golden_case(name: str) -> GoldenCase:
    """One image of two by three pixels."""
    facts = GoldenFacts(slot="any", tensor="view", laterality="L", view="CC")
    return GoldenCase(
        record=GoldenRecord(
            name=name, images=(facts,), input_tolerance=0.01, scores={"fp32": {"suspicion": 0.5}}
        ),
        images=(
            GoldenImage(
                facts=facts,
                pixels=np.arange(6, dtype=np.uint16).reshape(2, 3),
                expected_input=np.zeros((1, 1, 2, 3), np.float32),
            ),
        ),
    )


def write_manifest(folder: Path, **changes: object) -> None:
    """manifest.json for the files that are there now."""
    files = [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "manifest.sig")
    ]
    manifest: dict[str, object] = {
        "name": "tiny",
        "version": "1.0.0",
        "created_at": "2026-01-01T00:00:00Z",
        "source": {"file": "a.onnx", "sha256": "0" * 64, "framework": "onnx", "licence": "MIT"},
        "intended_use": "Tests.",
        "scope": "view",
        "preparation": {"steps": [{"step": "channels"}]},
        "inputs": [{"tensor": "view", "shape": [1, 1, 8, 8]}],
        "outputs": [{"tensor": "score", "score": "suspicion", "suspicion": True}],
        "precisions": {
            "fp32": {"xml": "fp32.xml", "bin": "fp32.bin", "golden_tolerance": {"f32": 0.001}}
        },
        "exam_rule": "max_view",
        "operating_points": [{"name": "balanced", "threshold": 0.5}],
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def edit_manifest(folder: Path, edit: Callable[[dict], object]) -> None:
    """Change manifest.json in place."""
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def zipped(folder: Path, name: str = "tiny-1.0.0.zip") -> Path:
    """The package as one zip."""
    target = folder.parent / name
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    return target


def faults_of(path: Path, **options: object) -> tuple[str, ...]:
    """The faults with which a package is refused."""
    with pytest.raises(PackageRefusedError) as refused:
        load_package(path, **({"allow_unsigned": True} | options))
    return refused.value.faults


def test_a_whole_package_is_loaded(folder: Path) -> None:
    """Its hash is that of the manifest, and its golden cases are what was written."""
    package = load_package(folder, allow_unsigned=True)
    content = (folder / "manifest.json").read_bytes()
    assert package.sha256 == hashlib.sha256(content).hexdigest()
    assert not package.signed
    cases = list(package.golden_cases())
    assert [case.name for case in cases] == ["case-0", "case-1", "case-2"]
    assert cases[0].images[0].pixels.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not cases[0].images[0].pixels.flags.writeable
    assert package.score_histogram().counts[-1] == 1
    assert package.score_histogram().images == 3


def test_a_changed_file_is_refused(folder: Path) -> None:
    """One flipped byte of the same size is seen."""
    content = bytearray((folder / "fp32.bin").read_bytes())
    content[0] ^= 1
    (folder / "fp32.bin").write_bytes(bytes(content))
    assert faults_of(folder) == ("fp32.bin: SHA-256 is not the manifest's",)


def test_every_fault_is_told_in_one_go(folder: Path) -> None:
    """A missing, a changed and an unlisted file give three faults."""
    (folder / "fp32.bin").unlink()
    (folder / "CARD.md").write_text("other")
    (folder / "extra.py").write_text("import os")
    faults = faults_of(folder)
    assert len(faults) == 3
    assert [fault.partition(":")[0] for fault in faults] == ["CARD.md", "fp32.bin", "extra.py"]


def test_a_link_is_refused_even_if_what_it_leads_to_is_right(folder: Path) -> None:
    """A package does not reach outside its folder."""
    outside = folder.parent / "outside.bin"
    (folder / "fp32.bin").rename(outside)
    (folder / "fp32.bin").symlink_to(outside)
    assert "fp32.bin: a link or device, not a file" in faults_of(folder)


def test_a_listed_path_that_leaves_the_package_is_refused(folder: Path) -> None:
    """Also when the file is there and its hash is right."""
    outside = folder.parent / "outside.txt"
    outside.write_text("x")
    entry = {
        "path": "../outside.txt",
        "sha256": hashlib.sha256(b"x").hexdigest(),
        "size_bytes": 1,
    }
    edit_manifest(folder, lambda manifest: manifest["files"].append(entry))
    assert faults_of(folder) == ("files: '../outside.txt' leaves the package",)


def test_fewer_than_three_golden_cases_are_refused(folder: Path) -> None:
    """A package that cannot prove itself is none."""
    (folder / "golden" / "2.npz").unlink()
    write_manifest(folder)
    assert faults_of(folder) == ("files: 2 golden cases, 3 are needed",)


def test_an_unknown_key_is_refused_by_name(folder: Path) -> None:
    """A newer or misspelt manifest is not half understood."""
    edit_manifest(folder, lambda manifest: manifest.update(colour="red"))
    assert faults_of(folder) == ("manifest.json: colour: Extra inputs are not permitted",)


def test_a_manifest_that_is_no_json_is_refused(folder: Path) -> None:
    """So is one that was cut off."""
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content[: len(content) // 2])
    assert faults_of(folder)[0].startswith("manifest.json: Invalid JSON")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    """An empty folder and one that does not exist give the same answer."""
    assert faults_of(tmp_path) == ("manifest.json: missing",)
    assert faults_of(tmp_path / "nowhere") == ("manifest.json: missing",)


def test_an_unsigned_package_needs_leave(folder: Path) -> None:
    """It is refused unless the unit's settings allow it."""
    faults = faults_of(folder, allow_unsigned=False)
    assert faults == ("manifest.sig: missing, the package is unsigned",)


def test_a_signature_of_a_trusted_key_is_accepted(folder: Path) -> None:
    """And the package says whose it is."""
    public = signed_with_new_key(folder)
    package = load_package(folder, trusted_keys=(b"\1" * 32, public))
    assert package.signed_by == hashlib.sha256(public).hexdigest()[:16]


def test_a_manifest_changed_after_signing_is_refused(folder: Path) -> None:
    """Even where unsigned packages are allowed."""
    public = signed_with_new_key(folder)
    edit_manifest(folder, lambda manifest: manifest.update(version="1.0.1"))
    faults = faults_of(folder, trusted_keys=(public,))
    assert faults == ("manifest.sig: made by none of the 1 trusted keys",)


def test_a_signature_of_a_stranger_is_refused(folder: Path) -> None:
    """A valid signature by a key that the unit does not trust is worth nothing."""
    signed_with_new_key(folder)
    trusted = make_key_pair(folder.parent / "other.pem")
    assert faults_of(folder, trusted_keys=(trusted,), allow_unsigned=False) == (
        "manifest.sig: made by none of the 1 trusted keys",
    )


def signed_with_new_key(folder: Path) -> bytes:
    """Sign the package; the public key."""
    private = folder.parent / "key.pem"
    public = make_key_pair(private)
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(sign(content, private))
    return public


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    """Mode 0600, and a second keygen on the same file is refused."""
    private = tmp_path / "key.pem"
    make_key_pair(private)
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BenchFaultError):
        make_key_pair(private)


def test_a_zip_is_unpacked_into_the_store_under_its_label(folder: Path, tmp_path: Path) -> None:
    """Twice gives the same package, and nothing else is left in the store."""
    archive, store = zipped(folder), tmp_path / "store"
    package = load_package(archive, allow_unsigned=True, store=store)
    assert package.folder == store / "tiny-1.0.0"
    assert load_package(archive, allow_unsigned=True, store=store).sha256 == package.sha256
    assert [path.name for path in store.iterdir()] == ["tiny-1.0.0"]


def test_another_package_under_a_known_version_is_refused(folder: Path, tmp_path: Path) -> None:
    """A changed package needs a new version; the one in the store stays."""
    store = tmp_path / "store"
    first = load_package(zipped(folder), allow_unsigned=True, store=store)
    edit_manifest(folder, lambda manifest: manifest.update(intended_use="Other tests."))
    faults = faults_of(zipped(folder, "second.zip"), store=store)
    assert faults[0].startswith("the store holds another tiny-1.0.0")
    assert load_package(first.folder, allow_unsigned=True).sha256 == first.sha256


@pytest.mark.parametrize(
    "name", ["../escaped.txt", "/etc/escaped.txt", "a/../../b", "C:\\escaped.txt", "a//b", "./x"]
)
def test_a_zip_that_would_leave_its_folder_is_refused(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """Nothing is written, neither outside nor in the store."""
    archive, store = zipped(folder), tmp_path / "store"
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(zipfile.ZipInfo(name), "x")
    assert "could leave" in faults_of(archive, store=store)[0]
    assert list(store.iterdir()) == []
    assert not list(tmp_path.rglob("escaped*"))


def test_a_zip_with_a_symbolic_link_is_refused(folder: Path, tmp_path: Path) -> None:
    """A link could lead a later entry outside."""
    archive = zipped(folder)
    link = zipfile.ZipInfo("link")
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc")
    assert faults_of(archive, store=tmp_path / "store") == ("'link': a link or device, not a file",)


def test_a_zip_with_a_file_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    """Otherwise the reader decides which of the two was checked."""
    archive = zipped(folder)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("card.MD", "the other")
    assert "'card.MD': listed twice" in faults_of(archive, store=tmp_path / "store")


def with_declared_size(archive: Path, size: int) -> None:
    """Make the zip's directory claim `size` bytes, unpacked, for its first file."""
    content = bytearray(archive.read_bytes())
    # APPNOTE 4.3.12: the uncompressed size is 24 bytes into a central directory header.
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = size.to_bytes(4, "little")
    archive.write_bytes(bytes(content))


def test_a_zip_that_claims_two_gigabytes_is_refused(folder: Path, tmp_path: Path) -> None:
    """Before anything is unpacked."""
    archive = zipped(folder)
    with_declared_size(archive, 2**31)
    assert "bytes unpacked" in faults_of(archive, store=tmp_path / "store")[0]


def test_a_zip_with_more_bytes_than_it_declares_is_refused(folder: Path, tmp_path: Path) -> None:
    """What it declares was checked; what it holds must be that."""
    archive = zipped(folder)
    with_declared_size(archive, 3)
    assert "not a readable zip" in faults_of(archive, store=tmp_path / "store")[0]


def test_a_torn_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    """A download that broke off is no package."""
    archive = zipped(folder)
    content = archive.read_bytes()
    archive.write_bytes(content[:200])
    assert "not a readable zip" in faults_of(archive, store=tmp_path / "store")[0]


def test_a_torn_golden_case_is_refused_by_name(folder: Path) -> None:
    """Its hash may be right: then it was packaged so."""
    (folder / "golden" / "1.npz").write_bytes(b"PK no zip")
    write_manifest(folder)
    package = load_package(folder, allow_unsigned=True)
    with pytest.raises(PackageRefusedError, match=r"1\.npz"):
        list(package.golden_cases())


def test_a_golden_case_with_pickled_objects_is_refused(folder: Path) -> None:
    """A pickle executes code when it is read."""
    np.savez(folder / "golden" / "1.npz", record=np.array([{"a": 1}], dtype=object))
    write_manifest(folder)
    package = load_package(folder, allow_unsigned=True)
    with pytest.raises(PackageRefusedError, match="allow_pickle"):
        list(package.golden_cases())


def test_an_unknown_precision_is_refused_with_those_there_are(folder: Path) -> None:
    """The message helps."""
    package = load_package(folder, allow_unsigned=True)
    with pytest.raises(PackageRefusedError, match="'int4' is none of fp32"):
        package.precision("int4")
