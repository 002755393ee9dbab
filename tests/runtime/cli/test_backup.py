"""Backup and restore of a unit that does not run: whole or not at all, and never over a ledger."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat

import pytest

from runtime.cli.main import main
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind
from runtime.messages.status_reason import StatusReason
from runtime.publishing.site_key import write_site_key
from runtime.system.folder_lock import sole_user
from tests.support.unit_under_test import MESSAGE_FACTORY
from tests.support.units import UnitProcess


@pytest.fixture
def unit(tmp_path):
    """A unit's folder with a ledger of three events, as a stop leaves it."""
    unit = UnitProcess(tmp_path / "unit", package=tmp_path / "none", broker_port=1)
    (unit.folder / "data").mkdir()
    say(unit, 3)
    return unit


def say(unit, count):
    """Events, numbered."""
    with Ledger(unit.folder / "data" / "ledger.db") as ledger:
        for _ in range(count):
            ledger.add_event(MESSAGE_FACTORY.event_message(EventKind.EXPOSURE, at_ms=1), 1)


def run(command, unit, folder):
    """The exit code."""
    return main([command, str(folder), "--config", str(unit.config)])


@pytest.fixture
def backup(unit, tmp_path):
    """One that was made of it."""
    folder = tmp_path / "backup"
    assert run("backup", unit, folder) == 0
    return folder


def test_a_backup_holds_ledger_key_settings_and_a_signed_list(unit, backup):
    """For its owner's eyes only; the ledger is left as it was."""
    listed = json.loads((backup / "list.json").read_text())
    assert (listed["unit"], listed["last_seq"]) == ("mammo-1", 3)
    assert set(listed["files"]) == {"ledger.db", "site.key", "unit.toml"}
    assert (backup / "unit.toml").read_bytes() == unit.config.read_bytes()
    for file in backup.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    with Ledger(unit.folder / "data" / "ledger.db") as ledger:
        assert ledger.renewal is None


def test_a_backup_after_a_kill_has_what_the_log_has(unit, tmp_path):
    """Rows that are in the -wal alone are in the backup."""
    data = unit.folder / "data"
    with Ledger(data / "ledger.db") as ledger:
        ledger.add_event(MESSAGE_FACTORY.event_message(EventKind.EXPOSURE, at_ms=1), 1)
        shutil.copytree(data, tmp_path / "killed")
    shutil.rmtree(data)
    (tmp_path / "killed").rename(data)
    assert run("backup", unit, tmp_path / "backup") == 0
    assert json.loads((tmp_path / "backup" / "list.json").read_text())["last_seq"] == 4


def test_what_is_restored_begins_a_new_epoch(unit, backup, capsys):
    """The ledger that was there is set aside, with what was said since."""
    say(unit, 2)
    assert run("restore", unit, backup) == 0
    data = unit.folder / "data"
    assert str(data / "set-aside" / "ledger-1") in capsys.readouterr().out
    with sqlite3.connect(data / "set-aside" / "ledger-1" / "ledger.db") as newer:
        assert newer.execute("SELECT count(*) FROM outbox").fetchone() == (5,)
    before = json.loads((backup / "list.json").read_text())["ledger_id"]
    with Ledger(data / "ledger.db", boot_id="next") as ledger:
        assert ledger.renewal.reason is StatusReason.LEDGER_ROLLED_BACK
        assert ledger.ledger_id != before
        assert ledger.last_seq() == 3


def test_a_ledger_that_cannot_be_set_aside_stays_and_nothing_is_left_over(unit, backup, capsys):
    """The error names the place and what to do."""
    data = unit.folder / "data"
    (data / "set-aside").write_bytes(b"a file where the folder should be")
    before = (data / "ledger.db").read_bytes()
    assert run("restore", unit, backup) == 2
    said = capsys.readouterr().err
    assert f"cannot be moved to {data / 'set-aside'}: " in said
    assert f"let the service's user write into {data}" in said
    assert (data / "ledger.db").read_bytes() == before
    assert not list(data.glob("*.part"))


def test_a_new_box_gets_settings_key_and_ledger(unit, backup):
    """Nothing is there but the backup."""
    for gone in (unit.config, unit.folder / "site.key"):
        gone.unlink()
    shutil.rmtree(unit.folder / "data")
    assert run("restore", unit, backup) == 0
    assert unit.config.read_bytes() == (backup / "unit.toml").read_bytes()
    with Ledger(unit.folder / "data" / "ledger.db") as ledger:
        assert not ledger.renewal.said


def flip(file):
    """One byte of it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def another_hash(backup):
    """The list is made to fit the file; it is not signed for it."""
    listed = json.loads((backup / "list.json").read_text())
    (backup / "list.json").write_text(json.dumps(listed | {"last_seq": 4}))


def another_key(backup):
    """Somebody's own key beside a list that is signed with it no more."""
    (backup / "site.key").unlink()
    write_site_key(backup / "site.key")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda backup: flip(backup / "ledger.db"), "not as it was made: ledger.db"),
        (lambda backup: (backup / "site.key").unlink(), "not as it was made: site.key"),
        (lambda backup: (backup / "list.json").unlink(), "is this a backup?"),
        (lambda backup: (backup / "list.json").write_text("{}"), "is no list of a backup"),
        (another_hash, "was not made with this site's key"),
        (another_key, "not as it was made: site.key"),
    ],
)
def test_a_backup_that_is_not_as_it_was_made_is_not_restored(unit, backup, spoil, told, capsys):
    """Said with the file; the unit is as it was."""
    ledger = unit.folder / "data" / "ledger.db"
    before = ledger.read_bytes()
    spoil(backup)
    assert run("restore", unit, backup) == 2
    assert told in capsys.readouterr().err
    assert ledger.read_bytes() == before


def test_a_backup_of_another_unit_or_key_is_not_restored(unit, backup, capsys):
    """Flags of one unit are not said by another, and pseudonyms do not change."""
    unit.config.write_text(unit.config.read_text().replace('"mammo-1"', '"mammo-2"'))
    assert run("restore", unit, backup) == 2
    assert "st-anna/mammo-2" in capsys.readouterr().err
    unit.config.write_text(unit.config.read_text().replace('"mammo-2"', '"mammo-1"'))
    (unit.folder / "site.key").unlink()
    write_site_key(unit.folder / "site.key")
    assert run("restore", unit, backup) == 2
    assert "another key" in capsys.readouterr().err


def test_a_live_ledger_is_never_replaced(unit, backup, capsys):
    """The service has its folder: first it is stopped."""
    with sole_user(unit.folder / "data"):
        assert run("restore", unit, backup) == 2
    assert "another mammoedge works here" in capsys.readouterr().err


def test_a_backup_is_never_written_over_another(unit, backup, capsys):
    """Each has a folder of its own."""
    assert run("backup", unit, backup) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_damaged_ledger_makes_no_backup_and_check_says_why(unit, tmp_path, capsys):
    """Nothing is left that could be restored by mistake."""
    ledger = unit.folder / "data" / "ledger.db"
    content = bytearray(ledger.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    ledger.write_bytes(content)
    assert run("backup", unit, tmp_path / "backup") == 2
    assert "malformed" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()
    main(["check", "--json", "--config", str(unit.config)])
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (verdict,) = [each for each in said if each["name"] == "ledger"]
    assert verdict["grade"] == "bad"
    assert ledger.read_bytes() == content
