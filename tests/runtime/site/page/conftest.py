"""A fleet page on a store of its own, and a real browser to look at it."""

from __future__ import annotations

import pytest

from tests.conftest import module_or_skip


@pytest.fixture
def make_bench(tmp_path):
    """A factory of benches; all of them are closed at the end."""
    module_or_skip("sqlalchemy", "extra [site] is not installed")
    from tests.runtime.site.page.bench import FleetBench

    made = []

    def make(**settings):
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        made.append(FleetBench(folder, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench):
    """A bench whose page is served."""
    bench = make_bench()
    bench.page.start()
    return bench


@pytest.fixture
def open_page(browser):
    """Fresh pages; what one complains about fails the test."""
    contexts, complaints = [], []

    def make(*, width=1280, height=800, **options):
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, locale="en-GB", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page):
    """A page on a desk."""
    return open_page()
