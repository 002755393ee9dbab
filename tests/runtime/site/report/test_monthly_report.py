"""The month's report: one page that needs nobody, right in its figures, readable and printable."""

from __future__ import annotations

import re
from argparse import Namespace
from datetime import UTC, datetime

import pytest

from runtime.web.languages import LANGUAGES
from tests.conftest import module_or_skip
from tests.support.browser import violations

module_or_skip("sqlalchemy", "extra [site] is not installed")

from runtime.site.queries.month import Month  # noqa: E402
from runtime.site.report.monthly_report import month_of, report_command  # noqa: E402
from runtime.site.report.wording import site_catalogues  # noqa: E402
from tests.runtime.site.page.bench import FleetBench  # noqa: E402

TEXTS = {language: catalogue.texts for language, catalogue in site_catalogues().items()}
MIDDLE_MS = int(datetime(2026, 10, 15, 10, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000
SITE_TOML = """
[site]
name = "st-anna"
[broker]
host = "127.0.0.1"
port = 1883
tls = false
[store]
database = "site.db"
"""


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Two units with an October, one that was silent then, and another month around it."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "site.toml").write_text(SITE_TOML)
    bench = FleetBench(folder)
    bench.exams("mammo-1", priority=1, none=7, not_assessed=2, at_ms=MIDDLE_MS)
    bench.exams("mammo-1", none=1, at_ms=MIDDLE_MS + DAY_MS)
    bench.exams("mammo-2", none=4, at_ms=MIDDLE_MS)
    bench.exams("mammo-3", none=9, at_ms=MIDDLE_MS + 30 * DAY_MS)
    bench.chart("mammo-1", "priority", 0.1)
    bench.close()
    return folder


def make(folder, language="en", month="2026-10", unit=None):
    output = folder / f"report-{language}-{month}.html"
    arguments = Namespace(
        config=folder / "site.toml", month=month, language=language, unit=unit, output=output
    )
    return report_command(arguments), output


def test_the_figures_are_those_of_that_month(books):
    """Fifteen exams of two units; what was before and after is not in it."""
    code, output = make(books)
    assert code == 0
    page = output.read_text()
    assert "2 units, 15 exams: 6.7 % with priority, 13.3 % not assessed." in page
    assert "October 2026" in page
    assert "mammo-3" not in page
    row = re.search(r'<th scope="row"><a href="#unit-1">.*?</tr>', page)[0]
    assert re.findall(r"<td>([^<]*)</td>", row)[:3] == ["11", "9.1 %", "18.2 %"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_stands_alone_and_is_accessible(books, browser, language):
    """From a file, with no request at all, no script, no key without words; axe finds nothing."""
    _, output = make(books, language)
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(output.as_uri())
    assert asked == [output.as_uri()]
    assert page.locator("script, link, img").count() == 0
    assert page.locator("html").get_attribute("lang") == language
    words = page.locator("body").inner_text()
    assert TEXTS[language]["report.fleet"] in words
    assert [key for key in TEXTS[language] if "." in key and key in words] == []
    assert page.locator("svg.chart").count() >= 4
    fills = page.evaluate(
        "[...document.querySelectorAll('svg.chart rect.bar')].map(r => getComputedStyle(r).fill)"
    )
    assert len(set(fills)) >= 3
    assert violations(page) == []
    assert len(page.pdf()) > 10_000
    context.close()


def test_one_unit_alone_and_a_month_without_exams(books, capsys):
    """`--unit` leaves the others out; an empty month says so; an unknown unit is exit code 1."""
    _, output = make(books, unit="st-anna/mammo-2")
    assert "mammo-1" not in output.read_text()
    code, output = make(books, month="2026-01")
    assert code == 0
    assert TEXTS["en"]["report.none"] in output.read_text()
    assert make(books, unit="st-anna/none")[0] == 1
    assert "st-anna/none" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["2026-13", "2026", "10-2026", "2999-01", "2026-1"])
def test_what_is_no_month_is_refused(books, text, capsys):
    """Exit code 2, and what a month looks like."""
    assert make(books, month=text)[0] == 2
    assert "--month" in capsys.readouterr().err


def test_without_a_month_it_is_the_last_whole_one():
    """Also in January."""
    january = int(datetime(2027, 1, 3, tzinfo=UTC).timestamp() * 1000)
    assert month_of(None, january) == Month(year=2026, month=12)
    assert month_of(None, MIDDLE_MS) == Month(year=2026, month=9)
