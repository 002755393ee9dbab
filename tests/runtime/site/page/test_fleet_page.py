"""The fleet page in a real Chromium: what somebody who answers for all units sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.messages.payloads import OtherCode
from runtime.web.languages import LANGUAGES
from tests.conftest import module_or_skip
from tests.support.browser import violations

module_or_skip("sqlalchemy", "extra [site] is not installed")

from runtime.site.report.wording import site_catalogues  # noqa: E402
from runtime.site.store.store import StoreError, StoreFault  # noqa: E402
from tests.runtime.site.page.bench import SILENT_AFTER_S  # noqa: E402

TEXTS = {language: catalogue.texts for language, catalogue in site_catalogues().items()}
EN = TEXTS["en"]
GENEROUS_MS = 30_000
STALE_MS = 60_000


def says(locator, text):
    """Waits until the element says it."""
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text, timeout=GENEROUS_MS)


def tile(page, name):
    return page.locator(".tiles > li", has=page.locator(f'h3:has-text("{name}")'))


def test_a_unit_appears_and_its_flags_are_counted_without_a_reload(bench, page):
    """Nobody, then a unit, then its exams of today, as they are heard."""
    page.goto(bench.url)
    says(page.locator("#nothing"), EN["fleet.none"])
    bench.born("mammo-1")
    says(page.locator("#well"), "mammo-1")
    bench.exams("mammo-1", priority=2, none=7, not_assessed=1)
    says(tile(page, "mammo-1").locator(".counts .priority"), "2")
    says(tile(page, "mammo-1").locator(".counts .none"), "7")
    says(tile(page, "mammo-1").locator(".counts .not_assessed"), "1")
    assert tile(page, "mammo-1").locator(".share").all_inner_texts() == ["20%", "10%"]


def test_what_needs_a_look_comes_first_and_says_why(bench, page):
    """A silent unit, a degraded one, a rate beyond its limits: on top, in words."""
    for name in ("a-well", "b-degraded", "c-busy"):
        bench.born(name, reasons=("disk_low",) if name == "b-degraded" else ())
    bench.chart("c-busy", "priority", 0.05)
    bench.exams("c-busy", priority=20, none=20)
    bench.alarm("c-busy", "rate_risen", severity="critical", saw="20 of 40")
    page.goto(bench.url)
    says(page.locator("#trouble > li").nth(0), EN["why.priority_beyond"])
    says(page.locator("#trouble > li").nth(1), EN["degraded.disk_low"])
    assert page.locator("#trouble li h3").all_inner_texts()[0].count("c-busy") == 1
    says(page.locator("#well"), "a-well")
    says(page.locator("#alarms"), EN["alarm.rate_risen.what"])
    says(page.locator("#alarms"), "20 of 40")
    says(page.locator("#counts"), "1 critical · 1 to look at · 1 in order")
    bench.ahead_ms += 2 * SILENT_AFTER_S * 1000  # nothing more is heard of any of them
    bench.listen()
    says(tile(page, "a-well"), EN["why.silent"])


def test_a_state_of_a_later_version_is_shown_and_to_be_looked_at(bench, page):
    """Its code and its reason's, as "other (CODE)"; never taken for well, or for silent."""
    bench.born("mammo-1", reasons=("paddle_loose",))
    born = bench.unit("mammo-1").status(at_ms=bench.clock_ms(), reasons=("paddle_loose",))
    later = born.message.model_copy(update={"state": OtherCode("maintenance")})
    bench.hear(replace(born, message=later))
    page.goto(bench.url)
    says(page.locator("#trouble .state"), "other (maintenance)")
    says(page.locator("#trouble .why"), "other (paddle_loose)")


def test_one_click_leads_to_a_units_charts_and_story(bench, page):
    """Days with limits, drift by descriptor, models, reasons, exams; live on top; and back."""
    bench.born("mammo-7")
    bench.days("mammo-7", days=8, exams=12)
    bench.chart("mammo-7", "priority", 0.08)
    bench.alarm("mammo-7", "clock_off", saw="the clock is 99 s behind")
    page.goto(bench.url)
    tile(page, "mammo-7").locator("a").click()
    says(page.locator("#now .tile"), "mammo-7")
    titles = page.locator("figcaption").all_inner_texts()
    keys = ("exams", "priority", "not_assessed", "drift", "latency")
    assert titles == [EN[f"chart.{key}"] for key in keys]
    assert page.locator("svg.chart").count() == 5
    assert page.locator("svg.chart rect.bar").count() >= 8
    assert page.locator("svg.chart rect.band").count() == 8
    says(page.locator("#story"), EN["descriptor.manufacturer"])
    says(page.locator("#story"), "the clock is 99 s behind")
    page.locator("figure", has_text=EN["chart.exams"]).locator("summary").click()
    figures = page.locator("figure", has_text=EN["chart.exams"]).locator("tbody tr")
    assert figures.count() == 8
    page.get_by_role("link", name="7 days", exact=True).click()
    says(page.locator(".spans [aria-current]"), "7 days")
    bench.exams("mammo-7", priority=3)
    says(page.locator("#now .counts .priority"), "3")
    page.get_by_role("link", name=EN["nav.fleet"]).click()
    says(page.locator("h1"), EN["fleet.heading"])


def test_a_page_that_hears_nothing_says_so_and_recovers(bench, page):
    """Not live since a time, greyed; after the reconnect it is right at once."""
    bench.born("mammo-1")
    page.goto(bench.url)
    says(page.locator("#live"), "Live")
    bench.page.stop()
    page.locator("#lost h2").wait_for(state="visible", timeout=STALE_MS)
    says(page.locator("#lost h2"), "NOT LIVE since")
    assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('main')).filter")
    bench.exams("mammo-1", priority=4)
    bench.page.start()
    page.locator("#lost").wait_for(state="hidden", timeout=STALE_MS)
    assert "4" in tile(page, "mammo-1").locator(".counts .priority").inner_text()


def test_a_database_that_cannot_be_read_is_no_contact(bench, page):
    """The server is there and claims nothing that it has not just read."""
    bench.born("mammo-1")
    page.goto(bench.url)
    says(page.locator("#live"), "Live")
    broken = []
    summary = bench.page._reader._fleet.summary

    def failing(*arguments, **options):
        if broken:
            raise StoreError(StoreFault.LOCKED, "database is locked")
        return summary(*arguments, **options)

    bench.page._reader._fleet.summary = failing
    broken.append(True)
    says(page.locator("#lost h2"), "NOT LIVE since")
    broken.clear()
    says(page.locator("#live"), "Live")


def test_a_service_that_no_longer_listens_makes_the_page_doubt(bench, page):
    """The page is live and the books are not: it says since when nobody listens to the units."""
    bench.born("mammo-1")
    page.goto(bench.url)
    says(page.locator("#live"), "Live")
    bench.listen(ago_ms=60_000)
    says(page.locator("#lost h2"), EN["live.deaf"].split("{")[0].strip())
    assert page.evaluate("document.body.classList.contains('stale')")
    bench.listen()
    page.locator("#lost").wait_for(state="hidden", timeout=GENEROUS_MS)


def test_a_hundred_units_are_one_glance_and_can_be_searched(bench, page, open_page):
    """Every tile is there, worst first, numbered as people count; a phone needs no sideways."""
    for number in range(1, 101):
        bench.born(f"mammo-{number}", reasons=("disk_low",) if number == 42 else ())
    page.goto(bench.url)
    page.locator("#well > li").nth(98).wait_for()
    assert page.locator("#trouble > li").count() == 1
    names = page.locator("#well h3").all_inner_texts()
    assert "mammo-2" in names[1]
    assert "mammo-100" in names[-1]
    page.get_by_label(EN["fleet.find"]).fill("o-42")
    page.locator("#well-part").wait_for(state="hidden")
    assert page.locator(".tiles > li").count() == 1
    assert violations(page) == []
    phone = open_page(width=360, height=740)
    phone.goto(bench.url)
    phone.locator("#well > li").nth(98).wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(phone) == []
    phone.goto(bench.url + "units/st-anna/mammo-42")
    phone.locator("#now .tile").wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_whole_and_accessible(bench, page, language):
    """The fleet with alarms and foreign messages, and a unit's page: no violation, no bare key."""
    bench.born("mammo-1", reasons=("worker_not_ready",), waiting=10, oldest_s=4000)
    bench.days("mammo-1", days=2, exams=8)
    bench.born("mammo-2", offline=True)
    bench.alarm("mammo-1", "drift", saw="in English", subject="scanner", score=0.4)
    bench.alarm("", "service_silent", severity="critical", saw="in English", subject="site-2")
    bench.hear_foreign("mammoedge/v1/else", "not_json")
    page.goto(bench.url)
    page.get_by_role("link", name={"en": "English", "de": "Deutsch", "es": "Español",
                                   "fr": "Français"}[language]).click()  # fmt: skip
    says(page.locator("h1"), TEXTS[language]["fleet.heading"])
    says(page.locator("#alarms"), TEXTS[language]["alarm.drift.what"])
    says(page.locator("#alarms"), TEXTS[language]["suspect.scanner"])
    says(page.locator("#alarms"), "site-2")
    page.locator("details.key summary").click()
    assert violations(page) == []
    words = page.locator("main").inner_text()
    page.goto(bench.url + "units/st-anna/mammo-1")
    says(page.locator("#now"), TEXTS[language]["fact.heard"])
    says(page.locator("#now"), TEXTS[language]["why.backlog.do"])
    says(page.locator("#story"), TEXTS[language]["suspect.scanner"])
    assert violations(page) == []
    words += page.locator("main").inner_text()
    assert [key for key in TEXTS[language] if "." in key and key in words] == []
    assert "in English" not in words


def test_states_are_told_apart_without_colour(bench, page):
    """Each level has its own icon, words and border."""
    bench.born("critical")
    bench.alarm("critical", "two_units_one_name", severity="critical")
    bench.born("warning", reasons=("disk_low",))
    bench.born("away", offline=True)
    bench.born("well")
    page.goto(bench.url)
    page.locator(".tile").nth(3).wait_for()
    seen = page.evaluate(
        "() => [...document.querySelectorAll('.tile')].map(t => [getComputedStyle(t).borderStyle"
        " + getComputedStyle(t).borderWidth, t.querySelector('h3 use').getAttribute('href'),"
        " t.querySelector('h3 .unseen-text').textContent])"
    )
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [4, 4, 4]


def test_text_from_outside_is_text(bench, page):
    """A code with markup in it, from a unit or a stranger, is shown as it is written."""
    bench.born("mammo-1")
    bench.alarm("mammo-1", "<b>x</b>", saw="<img src=x onerror=alert(1)>")
    bench.hear_foreign("mammoedge/<script>", "<i>")
    page.goto(bench.url)
    says(page.locator("#alarms"), "<img src=x onerror=alert(1)>")
    says(page.locator("#alarms"), "<b>x</b>")
    assert page.locator("#alarms img, #alarms b, #foreign i").count() == 0
    page.goto(bench.url + "units/st-anna/mammo-1")
    says(page.locator("#story"), "<img src=x onerror=alert(1)>")
    assert page.locator("#story img").count() == 0


def test_the_page_asks_nobody_else(bench, page):
    """Every request goes to the site's own server."""
    bench.born("mammo-1")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(bench.url)
    says(page.locator("#well"), "mammo-1")
    page.goto(bench.url + "units/st-anna/mammo-1")
    says(page.locator("#now"), "mammo-1")
    assert {url.split("/")[2] for url in asked} == {bench.url.split("/")[2]}
