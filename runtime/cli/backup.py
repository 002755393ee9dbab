"""`mammoedge backup` and `mammoedge restore`: the ledger, the site's key and the settings."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from models.errors import OperatorError
from runtime.exams.unit_clock import wall_ms
from runtime.ledger.high_water_mark import file_sha256
from runtime.ledger.opening import copy_stopped_ledger, facts_of_file, set_aside
from runtime.publishing.site_key import read_site_key
from runtime.system.folder_lock import FolderInUseError, sole_user
from runtime.system.secret_file import write_new_secret
from runtime.timing.timestamps import utc_text
from runtime.unit.backup_request import ask
from runtime.unit.service import intake_types
from runtime.unit.settings import load_settings

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from runtime.ledger.opening import LedgerFacts
    from runtime.unit.settings import Settings

FORMAT = 1
LIST, LEDGER, SETTINGS, KEY = "list.json", "ledger.db", "unit.toml", "site.key"
ANSWER_S = 120.0


class BackupError(OperatorError):
    """A backup that cannot be made or must not be restored; says why, and what to do."""


def backup_command(arguments: Namespace) -> int:
    """Writes a new folder with all of it; while the service runs, too. 0, or BackupError."""
    settings = load_settings(arguments.config, intake_types())
    target: Path = arguments.folder
    key = read_site_key(settings.identity.site_key_file)
    try:
        target.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise BackupError(
            f"{target}: is there already; a backup gets a folder of its own"
        ) from None
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, target)
        facts = _fill(settings, key, target)
        undo.pop_all()
    print(f"{target}: ledger {facts.ledger_id} up to number {facts.last_seq}, settings, site key")
    return 0


def _fill(settings: Settings, key: bytes, target: Path) -> LedgerFacts:
    _copy_of_ledger(settings.storage.folder, target / LEDGER)
    write_new_secret(target / SETTINGS, settings.file.read_bytes())
    write_new_secret(target / KEY, settings.identity.site_key_file.read_bytes())
    facts = facts_of_file(target / LEDGER)
    if facts.faults:
        raise BackupError(f"{target / LEDGER}: the ledger is damaged: {facts.faults[0]}")
    said = {
        "format": FORMAT,
        "made_at": utc_text(wall_ms()),
        "mammoedge": version("mammoedge"),
        "site": settings.unit.site,
        "unit": settings.unit.unit,
        "ledger_id": facts.ledger_id,
        "last_seq": facts.last_seq,
        "files": {name: file_sha256(target / name) for name in (LEDGER, SETTINGS, KEY)},
    }
    listed = json.dumps(said | {"hmac_sha256": _signature(said, key)}, indent=1)
    write_new_secret(target / LIST, listed.encode())
    return facts


def _copy_of_ledger(folder: Path, target: Path) -> None:
    ledger = folder / LEDGER
    with ExitStack() as held:
        try:
            held.enter_context(sole_user(folder))
        except FolderInUseError:
            shutil.move(ask(folder, ANSWER_S), target)
            return
        if not ledger.exists():
            raise BackupError(f"{ledger}: there is none; has the unit run yet?")
        copy_stopped_ledger(ledger, target)


def restore_command(arguments: Namespace) -> int:
    """Puts a backup back on a unit that does not run. 0, or BackupError."""
    source: Path = arguments.folder
    listed = _checked(source)
    if not arguments.config.exists():
        arguments.config.parent.mkdir(parents=True, exist_ok=True)
        write_new_secret(arguments.config, (source / SETTINGS).read_bytes())
        print(f"{arguments.config}: there was none; it is the backup's")
    settings = load_settings(arguments.config, intake_types())
    _check_owner(settings, listed)
    _restore_key(settings.identity.site_key_file, source / KEY)
    if _signature(listed, read_site_key(settings.identity.site_key_file)) != listed["hmac_sha256"]:
        raise BackupError(f"{source / LIST}: was not made with this site's key")
    folder = settings.storage.folder
    facts = facts_of_file(source / LEDGER)
    _check_ledger(source / LEDGER, facts.faults, facts.folders, folder / "spool")
    folder.mkdir(parents=True, exist_ok=True)
    with sole_user(folder):
        _put_back(source / LEDGER, folder / LEDGER)
    print(f"{folder / LEDGER}: ledger up to number {facts.last_seq}, made at {listed['made_at']}")
    print("start the service: it begins a new epoch and takes in again what the spool has besides")
    return 0


def _checked(source: Path) -> dict[str, Any]:
    """The list, once every file is as it says."""
    try:
        listed: dict[str, Any] = json.loads((source / LIST).read_bytes())
        files = dict(listed["files"])
        if listed["format"] != FORMAT:
            raise BackupError(f"{source / LIST}: has format {listed['format']}, not {FORMAT}")
    except OSError as error:
        raise BackupError(f"{source / LIST}: {error.strerror}; is this a backup?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source / LIST}: is no list of a backup: {error}") from None
    wrong = [name for name, sha256 in files.items() if file_sha256(source / name) != sha256]
    if wrong or set(files) != {LEDGER, SETTINGS, KEY}:
        named = ", ".join(wrong) or "the list itself"
        raise BackupError(f"{source}: not as it was made: {named}; take an older backup")
    return listed


def _signature(listed: dict[str, Any], key: bytes) -> str:
    said = {name: value for name, value in listed.items() if name != "hmac_sha256"}
    return hmac.new(key, json.dumps(said, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _check_owner(settings: Settings, listed: dict[str, Any]) -> None:
    ours = (settings.unit.site, settings.unit.unit)
    its = (listed["site"], listed["unit"])
    if ours != its:
        raise BackupError(
            f"{settings.file}: is {'/'.join(ours)}, the backup is of {'/'.join(its)};"
            " flags of one unit must not be said by another"
        )


def _restore_key(installed: Path, saved: Path) -> None:
    if not installed.exists():
        installed.parent.mkdir(parents=True, exist_ok=True)
        write_new_secret(installed, saved.read_bytes())
        print(f"{installed}: there was none; it is the backup's")
    elif read_site_key(installed) != bytes.fromhex(saved.read_text(encoding="ascii").strip()):
        raise BackupError(
            f"{installed}: is another key than the backup's: exams would change their pseudonyms."
            " Which one does the site have? Put that one in its place"
        )


def _check_ledger(
    ledger: Path, faults: tuple[str, ...], folders: frozenset[str], spool: Path
) -> None:
    if faults:
        raise BackupError(f"{ledger}: is damaged: {faults[0]}; take an older backup")
    elsewhere = sorted(folders - {str(spool)})
    if elsewhere:
        raise BackupError(
            f"{ledger}: its images lie in {elsewhere[0]}, and storage.folder says {spool};"
            " set storage.folder as it was"
        )


def _put_back(source: Path, ledger: Path) -> None:
    """Whole or not at all; a ledger that is there is set aside, never overwritten."""
    part = ledger.with_name(ledger.name + ".part")
    try:
        shutil.copyfile(source, part)
        part.chmod(0o600)
        if ledger.exists():
            print(f"{ledger}: the ledger that was there is in {set_aside(ledger)}")
        part.rename(ledger)
    except OSError as error:
        raise BackupError(
            f"{ledger}: cannot be put there: {error.strerror}; is there room, and may this user"
            f" write into {ledger.parent}?"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    for place in (ledger, ledger.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
