"""What a page points to is there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import Page, page, pages, told

PATH = re.compile(
    r"(?:models|runtime|firmware_bridge|converters|tests|benches|docs)(?:/[\w.-]+)*/?[\w-]+(?:\.\w+)?/?"
)
WRITTEN_BY_MAKE = {"build/docs"}


@pytest.mark.parametrize("told", pages(), ids=lambda page: page.name)
def test_links_and_anchors_lead_somewhere(told):
    """Every relative link, picture and anchor."""
    broken = []
    for target in told.links:
        file, _, anchor = target.partition("#")
        there = (told.path.parent / file).resolve() if file else told.path
        if not there.exists() or not there.is_relative_to(ROOT):
            broken.append(target)
        elif anchor and anchor not in Page(there).anchors:
            broken.append(f"{target}: no such heading")
    assert broken == []


@pytest.mark.parametrize("told", told(), ids=lambda page: page.name)
def test_files_that_are_named_are_there(told):
    """`runtime/ledger/ledger.py` in backticks: whoever moves it mends the page."""
    named = [span for span in told.spans if "/" in span and PATH.fullmatch(span)]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_one_needs_is_two_links_away():
    """From README to every page of docs/, records of decisions and other languages apart."""
    reached, border = {ROOT / "README.md"}, [page("README.md")]
    for _ in range(2):
        found = {
            (one.path.parent / link.partition("#")[0]).resolve()
            for one in border
            for link in one.links
        }
        border = [Page(file) for file in found - reached if file.suffix == ".md"]
        reached |= found
    wanted = {one.path for one in pages() if one.path.is_relative_to(ROOT / "docs")}
    assert {
        str(path.relative_to(ROOT)) for path in wanted - reached if path.stem[:1] != "0"
    } == set()
