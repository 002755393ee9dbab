"""The pages of `docs/reference/` are what the types say, and leave no key out."""

from __future__ import annotations

import os
import re
import sys

import pytest

from converters.importing.reference import recipe_parts
from models.manifest import Manifest
from runtime.cli.main import commands, main
from runtime.cli.reference import manifest_parts, unit_parts
from runtime.user_input.reference_page import undescribed
from tests.conftest import ROOT, module_or_skip

PAGES = ("unit-toml", "site-toml", "manifest", "recipe", "commands")


def printed(capsys, page: str) -> str:
    assert main(["reference", page]) == 0
    return capsys.readouterr().out


def site_parts():
    module_or_skip("sqlalchemy", "extra [site] is not installed")
    from runtime.site.config.reference import site_parts

    return site_parts()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_in_the_docs_is_of_this_code(capsys, page):
    """What the command prints; it writes the file anew."""
    if page == "commands" and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse of another Python words its help otherwise")
    written = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    again = f"`mammoedge reference {page} > docs/reference/{page}.md` writes it anew"
    assert printed(capsys, page) == written, again


@pytest.mark.parametrize("parts", [unit_parts, site_parts, manifest_parts, recipe_parts])
def test_every_key_says_what_it_does(parts):
    """A description in the type, of every key of every table."""
    assert undescribed(parts()) == []


def test_every_key_that_init_writes_stands_in_the_reference(tmp_path, capsys):
    """The commented unit.toml of `init`, its comments taken away."""
    assert main(["init", str(tmp_path)]) == 0
    capsys.readouterr()
    page = printed(capsys, "unit-toml")
    text = (tmp_path / "unit.toml").read_text(encoding="utf-8")
    keys = set(re.findall(r"^#? ?([a-z_]+) = ", text, re.MULTILINE))
    assert {"site", "folder", "package", "devices", "ae_title"} <= keys
    assert {key for key in keys if f"| `{key}` |" not in page} == set()


def test_the_manifest_page_names_every_field(capsys):
    """No field of the package format is left out."""
    page = printed(capsys, "manifest")
    assert all(f"| `{name}` |" in page for name in Manifest.model_fields)


def test_every_command_stands_on_the_page_of_commands(capsys, monkeypatch):
    """However wide the terminal is, the page is the same."""
    page = printed(capsys, "commands")
    for command in commands():
        assert f"## mammoedge {command.name}\n" in page
    assert "## mammoedge site export\n" in page
    monkeypatch.setitem(os.environ, "COLUMNS", "40")
    assert printed(capsys, "commands") == page


def test_an_unknown_page_names_those_there_are(capsys):
    """Exit code 2 and the list."""
    assert main(["reference", "nothing"]) == 2
    assert "unit-toml" in capsys.readouterr().err
