"""`mammoedge init` for a site: files, their modes, and nothing lost or overwritten in silence."""

from __future__ import annotations

import json
import stat
import tomllib

import pytest

from runtime.mqtt.settings import BrokerSettings
from runtime.site_trust.site_folder import SiteFolderError, only_one
from tests.support.secured_site import init


@pytest.fixture
def site(tmp_path):
    """A site with one unit."""
    init(tmp_path, "--site", "st-anna", "--broker", "broker.lan", "--add-unit", "mammo-1")
    return tmp_path


def contents(folder) -> dict:
    """Every file by name."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def summary(folder, *arguments) -> dict:
    """What `--json` says."""
    return json.loads(init(folder, *arguments, "--json").stdout)


def test_every_key_is_its_owners_alone(site):
    """Mode 0600 for whatever must not be read by others, in folders of mode 0700."""
    secret = {f.name for f in site.rglob("*") if f.is_file() and b"PRIVATE" in f.read_bytes()}
    assert secret == {"ca.key", "broker.key", "monitor.key", "unit.key"}
    for file in site.rglob("*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert file.parent == site or stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_units_fragment_is_settings_that_hold(site):
    """broker.toml parses into [broker], and names files that lie beside it."""
    place = site / "units" / "mammo-1"
    document = tomllib.loads((place / "broker.toml").read_text())
    settings = BrokerSettings(**document["broker"])
    assert (settings.host, settings.port, settings.tls) == ("broker.lan", 8883, True)
    for file in (settings.ca_file, settings.certificate_file, settings.key_file):
        assert (place / file).exists()
    assert (place / "site.key").read_bytes() == (site / "site.key").read_bytes()


def test_nothing_is_made_twice(site):
    """A site that is there, and a unit that has its certificate, are left as they are."""
    before = contents(site)
    for arguments in (
        ("--site", "st-anna", "--broker", "other.lan"),
        ("--add-unit", "mammo-1"),
        ("--add-unit", "mammo/1"),
        ("--add-unit", "_site"),
        ("--site", "st-berta", "--add-unit", "mammo-2"),
        ("--revoke", "mammo-9"),
        ("--renew", "mammo-9"),
        ("--renew", "--days", "0"),
    ):
        refused = init(site, *arguments, check=False)
        assert refused.returncode == 1, arguments
        assert refused.stderr.startswith("mammoedge: "), refused.stderr
        assert "Traceback" not in refused.stderr
    assert contents(site) == before


def test_a_unit_is_added_later_without_touching_the_others(site):
    """Of what was there only the register changes."""
    before = contents(site)
    said = summary(site, "--add-unit", "mammo-2")
    after = contents(site)
    assert {name for name in before if before[name] != after[name]} == {"site.json"}
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"mammo-2"}
    assert [c["name"] for c in said["certificates"]] == ["_broker", "_site", "mammo-1", "mammo-2"]


def test_what_ends_soon_is_renewed_and_the_rest_stays(tmp_path):
    """`--renew` without names looks for the end; the old key goes with the old certificate."""
    init(tmp_path, "--site", "s", "--broker", "b", "--add-unit", "old", "--days", "30")
    init(tmp_path, "--add-unit", "young")
    before = contents(tmp_path)
    said = summary(tmp_path, "--renew")
    after = contents(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert {"units/old/unit.pem", "units/old/unit.key", "broker/broker.pem"} <= changed
    assert "units/young/unit.pem" not in changed
    assert all(c["days_left"] > 700 for c in said["certificates"])
    assert len(said["certificates"]) == 4
    assert summary(tmp_path, "--renew")["revoked"] == []


def test_a_revoked_unit_may_be_given_a_new_certificate(site):
    """All that it ever had is on the list; the new one is not."""
    first = summary(site, "--renew", "mammo-1")["certificates"][-1]["serial"]
    revoked = summary(site, "--revoke", "mammo-1")
    assert first in revoked["revoked"]
    assert len(revoked["revoked"]) == 2
    again = summary(site, "--add-unit", "mammo-1")
    assert again["certificates"][-1]["serial"] not in again["revoked"]


def test_two_commands_at_once_do_not_lose_each_others_certificates(site):
    """The second is refused while the first works."""
    with only_one(site):
        refused = init(site, "--add-unit", "mammo-2", check=False)
        with pytest.raises(SiteFolderError), only_one(site):
            pass
    assert refused.returncode == 1
    assert "another command" in refused.stderr


def test_a_damaged_site_is_told_not_repaired(site):
    """A register or an authority that cannot be read stops the command with the file's name."""
    (site / "site.json").write_text("{")
    refused = init(site, "--add-unit", "mammo-2", check=False)
    assert (refused.returncode, "site.json" in refused.stderr) == (1, True)
    (site / "authority" / "ca.key").unlink()
    assert init(site, "--add-unit", "mammo-2", check=False).returncode == 1
