"""OpenVINO's model cache, made safe against blobs that a power cut tore.

OpenVINO imports a blob by its header and trusts the rest. Here every blob that was written is
listed with its SHA-256 once it is complete; one that is not listed, or not as listed, is deleted
before OpenVINO sees it and simply compiled again.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "blobs.json"


def discard_torn_blobs(folder: Path) -> tuple[str, ...]:
    """Delete every blob in `folder` that is not exactly as listed; the names of those deleted.

    Raises:
        OSError: the folder cannot be made or written; then there is no cache to be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = _listed(folder)
    torn = []
    for blob in folder.glob("*.blob"):
        if blob.name not in listed or listed[blob.name] != _sha256(blob):
            blob.unlink(missing_ok=True)
            torn.append(blob.name)
    return tuple(torn)


def list_blobs(folder: Path) -> bool:
    """List the blobs that are there now, durably; False if the disk would not take it.

    A blob that is not listed costs the next start a compilation and nothing else.
    """
    hashes = {blob.name: _sha256(blob) for blob in sorted(folder.glob("*.blob"))}
    entries = {name: digest for name, digest in hashes.items() if digest is not None}
    if entries == _listed(folder):
        return True
    # Of this process alone: a worker that starts while another ends lists blobs as well.
    staged = folder / f"{INDEX}.{os.getpid()}"
    try:
        with staged.open("w", encoding="utf-8") as opened:
            json.dump(entries, opened)
            opened.flush()
            os.fsync(opened.fileno())
        staged.replace(folder / INDEX)
    except OSError:
        staged.unlink(missing_ok=True)
        return False
    return True


def discard_all(folder: Path) -> None:
    """Delete every blob: the next compilation starts afresh."""
    for blob in folder.glob("*.blob"):
        blob.unlink(missing_ok=True)


def _listed(folder: Path) -> dict[str, str]:
    try:
        entries = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _sha256(path: Path) -> str | None:
    """Of a file, hex; None for one that cannot be read, or that somebody else has deleted."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
