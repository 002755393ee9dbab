"""The pages as `make docs` builds them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, module_or_skip
from tests.support.browser import chromium

LONGEST_S = 60.0
LANGUAGES = ("en", "de", "es", "fr")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder that `mkdocs build --strict` has written, and how long that took."""
    module_or_skip("material", "mkdocs-material (extra [docs]) is not installed")
    folder = tmp_path_factory.mktemp("docs")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, time.monotonic() - started


def test_they_build_strictly_in_a_minute(built):
    """No warning: every page in the navigation, every link and anchor right."""
    folder, took_s = built
    assert took_s < LONGEST_S
    assert (folder / "index.html").exists()
    assert (folder / "wire" / "1.0.json").exists()


def test_they_ask_no_other_host(built):
    """Styles, scripts, fonts and pictures come from where the page comes from."""
    folder, _ = built
    foreign = re.compile(
        r'<(?:script|img|iframe|source)[^>]+src="(https?:|//)|<link[^>]+rel="(?:stylesheet|icon|preconnect)"'
        r'[^>]+href="(https?:|//)|<link[^>]+href="(https?:|//)[^>]+rel="(?:stylesheet|icon|preconnect)"'
    )
    for page in folder.rglob("*.html"):
        assert foreign.search(page.read_text(encoding="utf-8")) is None, page.name


def test_the_technologists_page_is_one_sheet(built):
    """Printed on A4, in each language."""
    folder, _ = built
    with chromium() as browser:
        for language in LANGUAGES:
            page = browser.new_page()
            page.goto((folder / "technologist" / language / "index.html").as_uri())
            sheets = re.findall(
                rb"/Type\s*/Page\b", page.pdf(format="A4", prefer_css_page_size=True)
            )
            assert len(sheets) == 1, language
