"""Settings are checked completely, in one go."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import BaseModel, ConfigDict

from runtime.cli.init import unit_toml
from runtime.unit.settings import load_settings, parse_settings
from runtime.user_input.settings_section import SettingsError


class FakeIntake:
    """An intake with one setting."""

    class settings_type(BaseModel):  # noqa: N801 - the name that the protocol asks for
        """One port."""

        model_config = ConfigDict(frozen=True, extra="ignore")
        port: int = 1


INTAKES = {"dicom": FakeIntake}


def template(folder):
    return unit_toml(site="s", unit="u", package=folder / "package", precision="int8")


def test_the_template_of_init_is_valid(tmp_path):
    """What `mammoedge init` writes is accepted as it stands; relative paths count from the file."""
    file = tmp_path / "unit.toml"
    file.write_text(template(tmp_path))
    settings = load_settings(file, INTAKES)
    assert settings.storage.folder == tmp_path / "data"
    assert settings.identity.site_key_file == tmp_path / "site.key"


def test_five_faults_are_five_messages(tmp_path):
    """Every fault is named with its key in one go."""
    document = tomllib.loads(template(tmp_path))
    document["unit"]["unit"] = "_site"
    document["storage"]["reserve_mb"] = -1
    document["model"]["precision"] = "int4"
    document["exam"]["wait"] = 3
    document["intake"]["telex"] = {}
    with pytest.raises(SettingsError) as caught:
        parse_settings(document, tmp_path / "unit.toml", INTAKES)
    keys = [fault.split(":")[0] for fault in caught.value.faults]
    assert sorted(keys) == [
        "exam.wait",
        "intake.telex",
        "model.precision",
        "storage.reserve_mb",
        "unit.unit",
    ]


def test_what_is_no_toml_is_named(tmp_path):
    """A broken file gets one clear message."""
    file = tmp_path / "unit.toml"
    file.write_text("[unit\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings(file, INTAKES)
