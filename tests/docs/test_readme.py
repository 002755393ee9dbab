"""README can be read in a minute."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import page

README = page("README.md")
READERS = (
    "technologist",
    "field engineer",
    "firmware team",
    "site",
    "model builder",
    "contributor",
)


def test_it_is_short():
    """At most 130 lines, none longer than a screen is wide."""
    lines = README.text.splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 130] == []


def test_it_says_what_it_is_not_and_the_two_commands():
    """Not for care; `make demo`, `make test`."""
    assert "Not a medical device, not for care." in README.text
    assert {"make demo", "make test"} <= set(README.shell_lines)


def test_every_reader_has_one_link():
    """One row each, one link in it."""
    rows = re.findall(r"^\| ([a-z ]+) \| (\[[^|]*) \|", README.text, re.MULTILINE)
    assert tuple(reader for reader, _ in rows) == READERS
    assert {cell.count("](") for _, cell in rows} == {1}


@pytest.mark.parametrize("name", ["console.png", "fleet-page.png"])
def test_its_two_pictures_are_small(name):
    """Shown, PNG, below 200 KB."""
    assert f"](docs/images/{name})" in README.text
    content = (ROOT / "docs" / "images" / name).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000


def test_readmes_of_folders_are_short():
    """They say what a folder is for and lead on; files are not listed, they would rot."""
    folders = ("models", "runtime", "firmware_bridge", "converters")
    files = [file for name in folders for file in (ROOT / name).rglob("README.md")]
    assert len(files) >= 6
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 16, file
        assert "\n|" not in text, file
