"""The password file: one line for each person, `NAME:$scrypt$ln=15,r=8,p=3$SALT$HASH`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import pwd
import re
import secrets
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.site.config.page_settings import CredentialsError

if TYPE_CHECKING:
    from pathlib import Path

# OWASP's Password Storage Cheat Sheet gives N=2^15, r=8, p=3 as one of its equals: 32 MB and about
# a tenth of a second each, so that a list that was stolen is slow to try out.
LOG2_N, R, P = 15, 8, 3
SALT_BYTES, HASH_BYTES = 16, 32
MOST_MEMORY_BYTES = 64 * 1024 * 1024
LEAST_CHARACTERS = 12
MOST_CHARACTERS = 256
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LINE = re.compile(
    r"(?P<name>[^:]+):\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<hash>[A-Za-z0-9+/]+)"
)


@dataclass(frozen=True, kw_only=True)
class PasswordHash:
    """What is kept of a password."""

    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    log2_n: int = LOG2_N
    r: int = R
    p: int = P

    @classmethod
    def of(cls, password: str, salt: bytes | None = None) -> PasswordHash:
        """The hash of a password under a new salt."""
        salt = salt or secrets.token_bytes(SALT_BYTES)
        return cls(
            salt=salt, hash=_scrypt(password, salt, log2_n=LOG2_N, r=R, p=P, length=HASH_BYTES)
        )

    def matches(self, password: str) -> bool:
        """Compares in constant time; takes a tenth of a second."""
        found = _scrypt(
            password, self.salt, log2_n=self.log2_n, r=self.r, p=self.p, length=len(self.hash)
        )
        return hmac.compare_digest(found, self.hash)

    def line(self, name: str) -> str:
        """As it stands in the file."""
        return (
            f"{name}:$scrypt$ln={self.log2_n},r={self.r},p={self.p}"
            f"${_text(self.salt)}${_text(self.hash)}"
        )


def _scrypt(password: str, salt: bytes, *, log2_n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=MOST_MEMORY_BYTES,
        dklen=length,
    )  # fmt: skip


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


@dataclass(frozen=True, kw_only=True)
class PasswordFile:
    """Names and hashes, as the file had them."""

    hashes: dict[str, PasswordHash]

    def knows(self, name: str, password: str) -> bool:
        """Whether that is the person's password; an unknown name takes as long to refuse."""
        known = self.hashes.get(name)
        if len(password) > MOST_CHARACTERS:
            return False
        if known is None:
            PasswordHash.of(password, bytes(SALT_BYTES))
            return False
        return known.matches(password)


def read_passwords(path: Path) -> PasswordFile:
    """The file's people.

    Raises:
        CredentialsError: unreadable, readable by others, empty, or a damaged line (by number).
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except PermissionError as error:
        me = _name_of(os.geteuid())
        raise CredentialsError(
            f"{path.name} cannot be read by {me}, as whom this runs: chown {me} {path.name}, or"
            f" give mammoedge site password --owner {me}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path.name} cannot be read: {error}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise CredentialsError(f"{path.name} may be read by everybody: chmod 600 {path.name}")
    hashes = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            name, kept = _parsed(path, number, line.strip())
            hashes[name] = kept
    if not hashes:
        raise CredentialsError(f"{path.name} names nobody: mammoedge site password NAME")
    return PasswordFile(hashes=hashes)


def _parsed(path: Path, number: int, line: str) -> tuple[str, PasswordHash]:
    found = LINE.fullmatch(line)
    if found is None or not NAME.fullmatch(found["name"]):
        raise CredentialsError(f"{path.name}, line {number}: is not NAME:$scrypt$…")
    log2_n, r, p = int(found["ln"]), int(found["r"]), int(found["p"])
    # What scrypt needs is known before it is asked: a line must not take the machine's memory.
    if (
        not 10 <= log2_n <= 20
        or not 1 <= p <= 16
        or 128 * r * ((1 << log2_n) + p) > (MOST_MEMORY_BYTES)
    ):
        raise CredentialsError(f"{path.name}, line {number}: costs out of range")
    try:
        salt, digest = _bytes(found["salt"]), _bytes(found["hash"])
    except binascii.Error as error:
        raise CredentialsError(f"{path.name}, line {number}: is not base64") from error
    if len(salt) < 8 or len(digest) < 16:
        raise CredentialsError(f"{path.name}, line {number}: salt or hash is too short")
    return found["name"], PasswordHash(salt=salt, hash=digest, log2_n=log2_n, r=r, p=p)


def _name_of(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # a container's user without a name
        return str(user_id)


def set_password(path: Path, name: str, password: str, *, owner: str | None = None) -> bool:
    """Adds or replaces a person's line; whether the person is new.

    The file is its owner's alone (mode 0600; its group may go on reading it where it could):
    `owner`'s, else whose it was, else ours.

    Raises:
        CredentialsError: the name, the password or the owner is refused, or the file cannot be
            written.
    """
    if not NAME.fullmatch(name):
        raise CredentialsError("a name has up to 64 letters, digits and . _ @ -")
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise CredentialsError(f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    lines = _lines_without(path, name)
    return _write(path, [*lines, PasswordHash.of(password).line(name)], name, owner)


def remove_password(path: Path, name: str) -> None:
    """Takes a person out. Raises CredentialsError: unknown, or the file cannot be written."""
    before = read_passwords(path).hashes
    if name not in before:
        raise CredentialsError(f"{path.name} does not name {name}")
    _write(path, _lines_without(path, name), name, None)


def _lines_without(path: Path, name: str) -> list[str]:
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path.name} cannot be read: {error}") from error
    return [line for line in lines if line.partition(":")[0] != name]


def _write(path: Path, lines: list[str], name: str, owner: str | None) -> bool:
    known = path.exists() and any(
        line.partition(":")[0] == name for line in path.read_text(encoding="utf-8").splitlines()
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    user_id, group_id = _ids_of(owner, path)
    try:
        # Made for its owner alone from the first byte on; a reader sees the old file or the new.
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                if (user_id, group_id) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), user_id, group_id)
                if path.exists():
                    group_reads = path.stat().st_mode & stat.S_IRGRP
                    os.fchmod(stream.fileno(), 0o600 | group_reads)
                stream.write("".join(f"{line}\n" for line in lines))
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CredentialsError(f"{path.name} cannot be written: {error.strerror}") from error
    return not known


def _ids_of(owner: str | None, path: Path) -> tuple[int, int]:
    """Whose the file shall be: user and group."""
    if owner is not None:
        try:
            found = pwd.getpwnam(owner)
        except KeyError as error:
            raise CredentialsError(f"there is no user {owner} on this machine") from error
        return found.pw_uid, found.pw_gid
    if path.exists():
        return path.stat().st_uid, path.stat().st_gid
    return os.geteuid(), os.getegid()
