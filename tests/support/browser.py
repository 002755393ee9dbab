"""A real Chromium (Debian's), driven by Playwright; and axe-core, the accessibility engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, skip_or_fail

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
AXE = Path("node_modules/axe-core/axe.min.js")
AXE_FOLDERS = (ROOT / "build" / "axe", ROOT)


@contextmanager
def chromium() -> Iterator[object]:
    """A running browser (playwright's `Browser`)."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright (extra [test]) is not installed")
    if not CHROMIUM.exists():
        skip_or_fail(f"{CHROMIUM} (Debian's chromium) is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


def axe_source() -> str:
    """The text of axe.min.js: `make test` installs it with npm below build/axe."""
    folders = [Path(os.environ["MAMMOEDGE_AXE"])] if "MAMMOEDGE_AXE" in os.environ else []
    for folder in (*folders, *AXE_FOLDERS):
        if (folder / AXE).exists():
            return (folder / AXE).read_text(encoding="utf-8")
    skip_or_fail("axe-core (npm) is not installed below build/axe")
    raise AssertionError("not reached")


def violations(page: object) -> list[str]:
    """What axe-core finds on the page (WCAG 2.2 A and AA, best practices): rule and elements."""
    # Through the debugger, because the page's own policy allows no foreign script.
    page.evaluate(axe_source())
    found = page.evaluate("() => axe.run(document)")
    return [
        f"{one['id']} ({one['impact']}): " + json.dumps([n["target"] for n in one["nodes"]][:5])
        for one in found["violations"]
    ]
