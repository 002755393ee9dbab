"""A model package on disk: loaded only if every hash, its schema and its signature hold."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from models.archive import MAXIMUM_BYTES, MAXIMUM_FILES, ArchiveFaultError, is_safe_path, unpack
from models.errors import PackageRefusedError, sentences_of
from models.golden import GoldenCase, GoldenFaultError, read_golden_case
from models.histogram import ScoreHistogram
from models.manifest import Manifest, Precision
from models.signature import SIGNATURE_BYTES, fingerprint, signer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
REFERENCE = "reference.json"
CARD = "CARD.md"
GOLDEN = "golden"
MINIMUM_GOLDEN_CASES = 3
MAXIMUM_MANIFEST_BYTES = 4 * 1024 * 1024
SHIPPED_SHA256 = "7f2e442ef94af744ed1950b8db30ebc44a8717095c0c28a317a983adfd8f53ae"
"""Of the manifest of `models/reference`, which ships beside this line: whoever can change the one
can change the other, so that a signature would say no more. Other packages need a trusted key."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package whose every file is the one that its manifest lists."""

    manifest: Manifest
    folder: Path
    sha256: str
    """SHA-256 of manifest.json, hex: it holds the hash of every other file."""
    signed_by: str | None
    """Fingerprint of the trusted key that signed it; None for an unsigned package."""

    @property
    def signed(self) -> bool:
        """True if a trusted key signed the manifest."""
        return self.signed_by is not None

    @property
    def trusted(self) -> bool:
        """True if it is signed, or the one that ships."""
        return self.signed or self.sha256 == SHIPPED_SHA256

    def precision(self, name: str) -> Precision:
        """The precision called `name`.

        Raises:
            PackageRefusedError: the package has no such precision; the text lists those it has.
        """
        for known, precision in self.manifest.precisions.items():
            if known == name:
                return precision
        has = ", ".join(self.manifest.precisions)
        raise PackageRefusedError(self.manifest.label, [f"precision {name!r} is none of {has}"])

    def golden_cases(self) -> Iterator[GoldenCase]:
        """Read the golden cases one by one, in the order of their names.

        Raises:
            PackageRefusedError: a case that cannot be read.
        """
        for listed in sorted(file.path for file in self.manifest.files):
            if not is_golden(listed):
                continue
            try:
                yield read_golden_case(self.folder / listed)
            except GoldenFaultError as fault:
                raise PackageRefusedError(self.manifest.label, [str(fault)]) from fault

    def score_histogram(self) -> ScoreHistogram:
        """`reference.json`: the scores of the evaluation set.

        Raises:
            PackageRefusedError: the file is not what its schema says.
        """
        try:
            return ScoreHistogram.model_validate_json((self.folder / REFERENCE).read_bytes())
        except ValidationError as fault:
            faults = [f"{REFERENCE}: {sentence}" for sentence in sentences_of(fault)]
            raise PackageRefusedError(self.manifest.label, faults) from fault


def is_golden(path: str) -> bool:
    """True for the path of a golden case inside a package."""
    return path.startswith(f"{GOLDEN}/") and path.endswith(".npz")


def load_package(
    path: Path,
    *,
    trusted_keys: tuple[bytes, ...] = (),
    allow_unsigned: bool = False,
    store: Path | None = None,
) -> Package:
    """Load a package from a folder, or from a `.zip` that is unpacked into `store`.

    Args:
        path: the folder or the zip.
        trusted_keys: raw Ed25519 public keys, 32 bytes each.
        allow_unsigned: accept a package that has no signature and is not the one that ships. A
            signature that none of
            `trusted_keys` made is refused even so, unless there are no keys at all.
        store: where a zip is unpacked, as `NAME-VERSION`, once it has proved good. The same
            package again is taken from there.

    Raises:
        PackageRefusedError: with every fault that was found, in one go.
    """
    if not path.is_file():
        return _load_folder(path, path.name, trusted_keys, allow_unsigned=allow_unsigned)
    if store is None:
        raise PackageRefusedError(path.name, ["a zip needs a store folder to be unpacked into"])
    store.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=store))
    try:
        unpack(path, staging)
        package = _load_folder(staging, path.name, trusted_keys, allow_unsigned=allow_unsigned)
        target = store / package.manifest.label
        if not target.exists():
            staging.chmod(0o755)
            staging.rename(target)
    except ArchiveFaultError as fault:
        raise PackageRefusedError(path.name, list(fault.faults)) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    stored = _load_folder(target, path.name, trusted_keys, allow_unsigned=allow_unsigned)
    if stored.sha256 != package.sha256:
        taken = f"the store holds another {target.name}; a changed package needs a new version"
        raise PackageRefusedError(path.name, [taken])
    return stored


def _load_folder(
    folder: Path, called: str, trusted_keys: tuple[bytes, ...], *, allow_unsigned: bool
) -> Package:
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file() or manifest_path.is_symlink():
        raise PackageRefusedError(called, [f"{MANIFEST}: missing"])
    if manifest_path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
        too_large = f"{MANIFEST}: larger than {MAXIMUM_MANIFEST_BYTES} bytes"
        raise PackageRefusedError(called, [too_large])
    content = manifest_path.read_bytes()
    signed_by, faults = _signature(folder, content, trusted_keys, allow_unsigned=allow_unsigned)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as fault:
        faults += [f"{MANIFEST}: {sentence}" for sentence in sentences_of(fault)]
        raise PackageRefusedError(called, faults) from fault
    faults += _listing_faults(manifest) + _file_faults(folder, manifest)
    if faults:
        raise PackageRefusedError(called, faults)
    return Package(
        manifest=manifest,
        folder=folder,
        sha256=hashlib.sha256(content).hexdigest(),
        signed_by=signed_by,
    )


def _signature(
    folder: Path, content: bytes, trusted_keys: tuple[bytes, ...], *, allow_unsigned: bool
) -> tuple[str | None, list[str]]:
    path = folder / SIGNATURE
    if not path.is_file() or path.is_symlink():
        shipped = hashlib.sha256(content).hexdigest() == SHIPPED_SHA256
        if allow_unsigned or shipped:
            return None, []
        return None, [f"{SIGNATURE}: missing, the package is unsigned"]
    if path.stat().st_size != SIGNATURE_BYTES:
        return None, [f"{SIGNATURE}: not {SIGNATURE_BYTES} bytes"]
    signer = signer_of(content, path.read_bytes(), trusted_keys)
    if signer is not None:
        return fingerprint(signer), []
    if allow_unsigned and not trusted_keys:
        return None, []
    return None, [f"{SIGNATURE}: made by none of the {len(trusted_keys)} trusted keys"]


def _listing_faults(manifest: Manifest) -> list[str]:
    """What the manifest's own list of files lacks or must not hold."""
    listed = [file.path for file in manifest.files]
    faults = [
        f"files: {path[:80]!r} leaves the package" for path in listed if not is_safe_path(path)
    ]
    faults += [f"files: {path!r} is listed twice" for path in set(listed) if listed.count(path) > 1]
    needed = {REFERENCE, CARD}
    for precision in manifest.precisions.values():
        needed |= {precision.xml, precision.bin}
    faults += [f"files: {path!r} is not listed" for path in sorted(needed - set(listed))]
    cases = sum(is_golden(path) for path in listed)
    if cases < MINIMUM_GOLDEN_CASES:
        faults.append(f"files: {cases} golden cases, {MINIMUM_GOLDEN_CASES} are needed")
    return faults


def _file_faults(folder: Path, manifest: Manifest) -> list[str]:
    """What on disk is not as the manifest lists it. Links are never followed."""
    found, faults = _found(folder)
    for file in manifest.files:
        if not is_safe_path(file.path):
            continue
        size = found.pop(file.path, None)
        if size is None:
            faults.append(f"{file.path}: missing")
        elif size != file.size_bytes:
            faults.append(f"{file.path}: {size} bytes, the manifest says {file.size_bytes}")
        elif sha256_of(folder / file.path) != file.sha256:
            faults.append(f"{file.path}: SHA-256 is not the manifest's")
    unlisted = sorted(found.keys() - {MANIFEST, SIGNATURE})
    return faults + [f"{path[:80]}: not listed in the manifest" for path in unlisted]


def _found(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Size in bytes of every file below `folder`, and what is there besides files."""
    found: dict[str, int] = {}
    faults: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            found[name] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            faults.append(f"{name[:80]}: a link or device, not a file")
    if len(found) > MAXIMUM_FILES or sum(found.values()) > MAXIMUM_BYTES:
        faults.append(f"more than {MAXIMUM_FILES} files or {MAXIMUM_BYTES} bytes")
        return {}, faults
    return found, faults


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
