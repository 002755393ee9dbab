"""Writes a package folder: all of it, or nothing."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.packaging.signing_keys import sign
from models.golden import GoldenCase, write_golden_case
from models.manifest import Manifest, PackageFile
from models.package import CARD, GOLDEN, MANIFEST, REFERENCE, SIGNATURE, sha256_of

REPORT = "report.html"

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.histogram import ScoreHistogram


@contextmanager
def staged(out: Path, *, marked_by: str = MANIFEST) -> Iterator[Path]:
    """A folder beside `out` that takes its name when the block ends well, and vanishes otherwise.

    Args:
        out: the folder to be.
        marked_by: the file that says that an existing `out` is one of ours, to be replaced.

    Raises:
        BenchFaultError: `out` is there and is none of ours, or the disk would not take it.
    """
    if is_archive(out):
        raise BenchFaultError([f"{out.name}: a folder is written here; `build` writes a zip"])
    require_replaceable(out, marked_by=marked_by)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as fault:
        raise BenchFaultError([f"{out.name}: {fault.strerror or fault}"]) from fault
    try:
        yield staging
        staging.chmod(0o755)
        previous = staging.with_name(f"{staging.name}.old")
        if out.exists():
            out.rename(previous)
        staging.rename(out)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as fault:
        raise BenchFaultError([f"{out.name}: {fault.strerror or fault}"]) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_replaceable(out: Path, *, marked_by: str = MANIFEST) -> None:
    """Nothing, where `out` may be written: it is not there, or it is one of ours.

    Raises:
        BenchFaultError: it is there and is none of ours.
    """
    if not out.exists():
        return
    if is_archive(out) and zipfile.is_zipfile(out):
        with zipfile.ZipFile(out) as opened:
            ours = marked_by in opened.namelist()
    else:
        ours = not is_archive(out) and (out / marked_by).is_file()
    if not ours:
        raise BenchFaultError([f"{out.name}: is there already and is no package"])


def is_archive(out: Path) -> bool:
    """Whether a package is to be one file."""
    return out.suffix.lower() == ".zip"


def write_archive(folder: Path, out: Path) -> None:
    """The package in `folder` as one zip, in its place when it is whole; its report beside it.

    Raises:
        BenchFaultError: the disk would not take it.
    """
    staging = out.with_name(f".{out.name}.new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_DEFLATED) as opened:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    opened.write(path, path.relative_to(folder).as_posix())
        shutil.copyfile(folder / REPORT, report_beside(out))
        staging.replace(out)
    except OSError as fault:
        raise BenchFaultError([f"{out.name}: {fault.strerror or fault}"]) from fault
    finally:
        staging.unlink(missing_ok=True)


def report_beside(out: Path) -> Path:
    """Where the report of the zip `out` can be read without unpacking it."""
    return out.with_suffix(f".{REPORT}")


def write_package_files(
    folder: Path,
    manifest: Manifest,
    *,
    golden: list[GoldenCase],
    histogram: ScoreHistogram,
    card: str,
    report: str = "",
    signing_key: Path | None = None,
) -> Manifest:
    """Complete a staged `folder` that already holds the IR files of `manifest`.

    Writes golden cases, reference.json, CARD.md and, last, manifest.json with the hash of every
    file there, and its signature if there is a key. The manifest as written is returned.
    """
    (folder / GOLDEN).mkdir(exist_ok=True)
    for case in golden:
        write_golden_case(folder / GOLDEN / f"{case.name}.npz", case)
    reference = histogram.model_dump_json(indent=1, exclude_none=True)
    (folder / REFERENCE).write_text(f"{reference}\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    if report:
        (folder / REPORT).write_text(report, encoding="utf-8")
    return seal(folder, manifest, signing_key)


def seal(folder: Path, manifest: Manifest, signing_key: Path | None) -> Manifest:
    """Write manifest.json with the hash of every file in `folder`, and sign it if there is a key.

    Raises:
        BenchFaultError: no usable key.
    """
    written = manifest.model_copy(update={"files": _files(folder)})
    content = (written.model_dump_json(indent=1, exclude_none=True) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    if signing_key is not None:
        (folder / SIGNATURE).write_bytes(sign(content, signing_key))
    return written


def _files(folder: Path) -> tuple[PackageFile, ...]:
    return tuple(
        PackageFile(
            path=path.relative_to(folder).as_posix(),
            sha256=sha256_of(path),
            size_bytes=path.stat().st_size,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, SIGNATURE}
    )
