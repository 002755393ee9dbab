"""A console on a ledger of its own, and a real browser to look at it."""

from __future__ import annotations

import pytest

from tests.runtime.console.bench import ConsoleBench


@pytest.fixture
def page(browser):
    """A fresh page at a kiosk's smallest size; what it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1024, "height": 768}, locale="en-GB")
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
    )
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def make_bench(tmp_path):
    """A factory of benches; all of them are closed at the end."""
    made = []

    def make(**settings):
        folder = tmp_path / f"bench{len(made)}"
        folder.mkdir()
        made.append(ConsoleBench(folder, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench):
    """A bench whose console is serving."""
    bench = make_bench()
    bench.console.start()
    return bench
