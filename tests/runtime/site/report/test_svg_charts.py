"""Charts: figures become places, and nothing from outside becomes markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from runtime.site.report.svg_charts import HEIGHT, Chart, DailySeries, draw, nice_step
from runtime.web.markup import el

DAYS = ("2026-10-01", "2026-10-02", "2026-10-03")


def bars(*values):
    return DailySeries(label="a", css="none", values=values)


@pytest.mark.parametrize(("raw", "step"), [(0.03, 0.05), (1.0, 1.0), (11, 20), (499, 500)])
def test_grids_have_steps_that_people_read(raw, step):
    """1, 2 and 5 times powers of ten."""
    assert nice_step(raw) == pytest.approx(step)


def test_bars_are_as_high_as_their_figures_and_stand_on_each_other():
    """Twice the figure, twice the height; the second begins where the first ends; 0 is no bar."""
    chart = Chart(key="k", days=DAYS, bars=(bars(1.0, 2.0, None), bars(1.0, 0.0, 3.0)))
    svg = ET.fromstring(draw(chart, "t"))  # noqa: S314 - our own
    found = [r for r in svg.iter("rect") if "bar" in r.get("class")]
    tops = [(float(r.get("y")), float(r.get("height"))) for r in found]
    assert len(tops) == 4
    assert tops[2][1] == pytest.approx(2 * tops[0][1], abs=0.05)
    assert sum(tops[1]) == pytest.approx(tops[0][0], abs=0.05)
    assert sum(tops[0]) == pytest.approx(HEIGHT - 24, abs=0.05)


def test_a_line_breaks_where_there_is_no_figure():
    """A gap is not drawn over, and a lonely figure has a dot."""
    chart = Chart(key="k", days=DAYS, lines=(bars(1.0, None, 2.0),))
    drawn = draw(chart, "t")
    (path,) = re.findall(r'd="([^"]+)" class="line', drawn)
    assert path.count("M") == 2
    assert "L" not in path
    assert drawn.count("<circle") == 2


def test_a_chart_of_nothing_and_of_zeros_can_be_drawn():
    """No division by zero; an empty one knows that it is."""
    assert Chart(key="k", days=DAYS, lines=(bars(None, None, None),)).is_empty
    zeros = Chart(key="k", days=DAYS, lines=(bars(0.0, 0.0, 0.0),))
    assert not zeros.is_empty
    assert "nan" not in draw(zeros, "t")


def test_text_is_escaped_in_content_and_attributes():
    """What a unit called itself is shown, not run."""
    made = el("p", "<b>", el("i", "x"), title='"><script>', class_="a")
    assert made == '<p title="&quot;&gt;&lt;script&gt;" class="a">&lt;b&gt;<i>x</i></p>'
