"""The site's key, which makes pseudonyms of UIDs."""

from __future__ import annotations

import secrets
import stat
from typing import TYPE_CHECKING

from models.errors import OperatorError
from runtime.system.secret_file import write_new_secret

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
LEAST_BYTES = 16


class SiteKeyError(OperatorError):
    """The key file cannot be used; says what to do."""


def read_site_key(file: Path) -> bytes:
    """The key in `file` (hex). Raises SiteKeyError."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except FileNotFoundError:
        raise SiteKeyError(
            f"identity.site_key_file: {file} does not exist; copy the site's key there, or make"
            " one with `mammoedge init`"
        ) from None
    except (OSError, ValueError) as error:
        raise SiteKeyError(
            f"identity.site_key_file: {file} cannot be read as hex: {error}"
        ) from None
    if mode & 0o077:
        raise SiteKeyError(
            f"identity.site_key_file: {file} can be read by others (mode {mode:o}); chmod 600 it"
        )
    if len(key) < LEAST_BYTES:
        raise SiteKeyError(f"identity.site_key_file: {file} holds fewer than {LEAST_BYTES} bytes")
    return key


def write_site_key(file: Path) -> None:
    """Makes a new key, readable by its owner only. Raises FileExistsError, OSError: a full disk."""
    write_new_secret(file, f"{secrets.token_hex(KEY_BYTES)}\n".encode("ascii"))
