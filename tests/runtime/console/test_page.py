"""The page in a real Chromium: what a technologist sees and does."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.console.console import PACKAGE
from runtime.console.evidence import evidence_rows
from runtime.console.system_status import BrokerLink
from runtime.dicom.patient_identity import PatientFacts
from runtime.image.outcome import Artefact
from runtime.image.reasons import Reason
from runtime.web.catalogue import load_catalogues
from runtime.web.languages import LANGUAGES
from runtime.worker.pipeline import write_evidence
from tests.runtime.console.bench import ALL, now_ms, picture
from tests.support.browser import violations
from tests.support.builders import result, unassessed

TEXTS = {language: catalogue.texts for language, catalogue in load_catalogues(PACKAGE).items()}
EN = TEXTS["en"]
FIRST, SECOND = "1.2.3.1", "1.2.3.2"
GENEROUS_MS = 30_000
STATIC = ("web.css", "web.js", "console.css", "console.js", "icons.svg")


def flag(page):
    return page.locator("#exam .flag .word")


def tile(page, view):
    return page.locator(f'#exam article[aria-label="{view}"]')


def says(locator, text):
    """Waits until the element says it."""
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text, timeout=GENEROUS_MS)


def test_an_exam_appears_view_by_view_without_a_reload(bench, page):
    """Awaited, received, judged, not judged and what to do, then the flag: as it happens."""
    page.goto(bench.url)
    says(page.locator("#exam"), EN["today.none"])
    bench.receive(FIRST, "RCC", accession="A-1", initials="M.A.", time="20260101104500")
    says(tile(page, "R CC"), EN["tile.received"])
    says(flag(page), EN["flag.not_yet"])
    says(page.locator(".identity"), "A-1M.A.10:45")
    bench.judge(result(0.1))
    says(tile(page, "R CC"), EN["tile.judged"])
    says(tile(page, "L CC"), EN["tile.awaited"])
    bench.receive(FIRST, "LCC")
    bench.judge(unassessed(Reason.UNREADABLE))
    says(tile(page, "L CC"), "Image unreadable. Send it again.")
    says(flag(page), EN["flag.not_assessed"])
    for view in ("RMLO", "LMLO"):
        bench.receive(FIRST, view)
        bench.judge(result(0.9))
    says(flag(page), EN["flag.priority"])
    says(page.locator(".flag .state"), "Final: all expected views came · just now")


def test_an_image_that_was_not_judged_shows_its_picture_and_why(bench, page):
    """An implant is seen on the tile, beside the reason; one that cannot be decoded has words."""
    content = picture()
    (bench.folder / "1.preview.jpg").write_bytes(content)
    shown = Artefact(kind="preview", path="", sha256=hashlib.sha256(content).hexdigest())
    bench.receive(FIRST, "RCC")
    bench.judge(replace(unassessed(Reason.IMPLANT), artefacts=(shown,)))
    bench.receive(FIRST, "LCC")
    bench.judge(unassessed(Reason.UNDECODABLE))
    page.goto(bench.url)
    says(tile(page, "R CC"), EN["reason.implant.what"])
    drawn = "e => e.decode().then(() => e.naturalWidth)"
    assert tile(page, "R CC").locator("img").evaluate(drawn) > 200
    says(tile(page, "L CC"), EN["reason.undecodable.what"])
    assert tile(page, "L CC").locator("img").count() == 0


def test_two_patients_in_one_exam_are_said_in_large_letters(bench, page):
    """At once, while views are awaited; gone when the exam is one patient's again."""
    page.goto(bench.url)
    bench.receive(FIRST, "RCC", patient=PatientFacts(patient_id="1"))
    bench.judge(result(0.9))
    says(flag(page), EN["flag.priority"])
    alarm = page.locator("#exam .alarm")
    assert alarm.count() == 0
    bench.receive(FIRST, "LCC", patient=PatientFacts(patient_id="2"))
    says(alarm, EN["reason.identity_conflict.what"])
    says(alarm, EN["reason.identity_conflict.do"])
    says(flag(page), EN["flag.not_assessed"])
    assert not violations(page)
    bench.notices.reject_image(FIRST, "1.2.9.2", retake_uid="1.2.9.3")
    bench.receive(FIRST, "LCC", patient=PatientFacts(patient_id="1"))
    says(flag(page), EN["flag.priority"])
    assert alarm.count() == 0


def test_magnification_views_say_that_nothing_is_to_be_done(bench, page):
    """A further image is listed with its reason and changes no tile."""
    page.goto(bench.url)
    bench.exam(FIRST)
    bench.receive(FIRST, "RCC", modifiers=("399163009",))
    bench.judge(unassessed(Reason.UNSUPPORTED_MODIFIER))
    says(page.locator(".others article"), EN["do.nothing"])
    says(flag(page), EN["flag.none"])


def test_seen_is_one_tap_and_one_event(bench, page):
    """The button tells the site once, and turns into the time."""
    page.goto(bench.url)
    key = bench.exam(FIRST, score=0.9)
    says(page.locator("#exams"), EN["seen.not_yet"])
    page.get_by_role("button", name="Seen:").click()
    says(page.locator("p.seen"), "Seen at")
    assert EN["seen.not_yet"] not in page.locator("#exams").inner_text()
    assert [(said["event"], said["exam_key"]) for said in bench.said()] == [("acknowledged", key)]


def test_everything_can_be_done_with_the_keyboard(bench, page):
    """Tab, arrows and Enter: choose an exam, acknowledge it, go back; the focus is not lost."""
    bench.exam(FIRST, score=0.9, accession="OLDER")
    bench.exam(SECOND, score=0.1, accession="NEWER")
    page.goto(bench.url)
    says(page.locator(".identity"), "NEWER")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('item')"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    says(page.locator(".identity"), "OLDER")
    says(page.locator("#current-heading"), EN["chosen.heading"])
    assert page.evaluate("document.activeElement.classList.contains('item')")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('see')"):
            break
    page.keyboard.press("Enter")
    says(page.locator("p.seen"), "Seen at")
    page.get_by_role("button", name=EN["chosen.back"]).press("Enter")
    says(page.locator(".identity"), "NEWER")


def test_a_new_exam_takes_the_page_back(bench, page):
    """Whoever looked at an older exam sees the woman in front of her when her images come."""
    bench.exam(FIRST, accession="OLDER")
    bench.exam(SECOND, accession="NEWER")
    page.goto(bench.url)
    page.locator(".item", has_text="OLDER").click()
    says(page.locator(".identity"), "OLDER")
    bench.receive("1.2.3.3", "RCC", accession="NEWEST")
    says(page.locator(".identity"), "NEWEST")


def test_ten_seconds_of_silence_are_said_in_large_letters(bench, page):
    """Not live since a time, the rest greyed; live again by itself when the box is back."""
    bench.exam(FIRST)
    page.goto(bench.url)
    says(flag(page), EN["flag.none"])
    assert not page.locator("#lost").is_visible()
    bench.console.stop()
    page.locator("#lost h2").wait_for(state="visible", timeout=GENEROUS_MS)
    says(page.locator("#lost h2"), "NOT LIVE since")
    letters_px = float(
        page.evaluate("parseFloat(getComputedStyle(document.querySelector('#lost h2')).fontSize)")
    )
    assert letters_px >= 32
    assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('main')).filter")
    bench.console.start()
    page.locator("#lost").wait_for(state="hidden", timeout=GENEROUS_MS)
    bench.exam(SECOND, score=0.9)
    says(flag(page), EN["flag.priority"])


def test_a_ledger_that_cannot_be_read_is_no_contact(make_bench, page):
    """The server is there and says nothing it has not just read: the page is not live."""
    from runtime.ledger.ledger import LedgerError

    bench = make_bench()
    broken = []

    def read():
        if broken:
            raise LedgerError(Path("ledger.db"), "disk I/O error")
        return bench.reader_board()

    bench.reader_board, bench.reader.board = bench.reader.board, read
    bench.console.start()
    page.goto(bench.url)
    says(page.locator("#live"), "Live")
    broken.append(True)
    says(page.locator("#lost h2"), "NOT LIVE since")
    # A page that comes now is not shown what was true before.
    page.reload()
    says(page.locator("#lost h2"), EN["live.never"])
    assert not page.locator("#exam").is_visible()
    broken.clear()
    says(page.locator("#live"), "Live")


def test_the_box_is_small_when_well_and_large_when_not(bench, page):
    """A line at the foot; a dead worker and a broker that is away fill the top, with codes."""
    page.goto(bench.url)
    says(page.locator("#box"), EN["box.well"])
    assert page.locator("#troubles .alarm").count() == 0
    bench.link = BrokerLink(connected=False, away_since_ms=now_ms() - 60_000)
    bench.status = bench.status.model_copy(update={"reasons": ("worker_not_ready",)})
    bench.exam(FIRST, score=0.9)
    says(page.locator("#troubles"), EN["trouble.B1.do"])
    says(page.locator("#troubles"), "Code W1")
    says(page.locator("#box"), "messages waiting: 8, since")
    says(flag(page), EN["flag.priority"])
    bench.link = BrokerLink(connected=True, away_since_ms=None)
    bench.status = bench.status.model_copy(update={"reasons": ("rows_parked",)})
    says(page.locator("#box"), EN["trouble.B2.what"])
    says(page.locator("#box"), EN["trouble.B2.do"])
    bench.status = bench.status.model_copy(update={"reasons": ()})
    says(page.locator("#box"), EN["box.well"])
    assert page.locator("#troubles .alarm").count() == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_at_the_smallest_size(bench, page, language):
    """Chosen by a click and kept; nothing sticks out, no word is left in another language."""
    bench.exam(FIRST, score=0.9, accession="A26-0001")
    bench.receive(SECOND, "RCC", accession="A26-0002")
    bench.judge(unassessed(Reason.LATERALITY_CONTRADICTS))
    page.goto(bench.url)
    page.locator(f'.languages [lang="{language}"]').click()
    says(flag(page), TEXTS[language]["flag.not_assessed"])
    assert page.locator("html").get_attribute("lang") == language
    says(page.locator("#today-heading"), TEXTS[language]["today.heading"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    wide = page.evaluate(
        "[...document.querySelectorAll('main *, footer *')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && !e.closest('svg'))"
        ".map(e => e.className)"
    )
    assert wide == []
    page.reload()
    says(page.locator("#today-heading"), TEXTS[language]["today.heading"])


@pytest.mark.parametrize("size", [(1024, 768), (1920, 1080), (3840, 2160)])
def test_no_accessibility_rule_is_broken_at_any_size(bench, page, size, tmp_path):
    """axe-core finds nothing on the board, in trouble, in the history."""
    bench.exam(FIRST, score=0.9, accession="A26-0001", initials="M.A.")
    bench.receive(SECOND, "RCC")
    bench.judge(unassessed(Reason.UNREADABLE))
    bench.status = bench.status.model_copy(update={"reasons": ("disk_low",)})
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(bench.url)
    says(page.locator("#troubles"), "Code D1")
    assert violations(page) == []
    shot = page.screenshot(path=tmp_path / "board.png")
    assert len(shot) > 10_000
    # What she looks at first is on the screen without scrolling, and large for the screen.
    system_status = page.locator(".flag").bounding_box()
    assert system_status["y"] + system_status["height"] < size[1]
    assert system_status["height"] > size[1] / 10
    page.goto(bench.url + "history")
    page.locator("#past button").first.click()
    page.locator("#story table").wait_for()
    assert violations(page) == []


def test_no_accessibility_rule_is_broken_when_the_contact_is_lost(bench, page):
    """axe-core finds nothing while what is shown is greyed and the alarm stands above it."""
    bench.exam(FIRST, score=0.9, accession="A26-0001")
    page.goto(bench.url)
    says(flag(page), EN["flag.priority"])
    bench.console.stop()
    page.locator("#lost h2").wait_for(state="visible", timeout=GENEROUS_MS)
    says(page.locator("#lost h2"), "NOT LIVE since")
    assert violations(page) == []


def test_states_differ_in_shape_and_words_not_only_in_colour(bench, page):
    """In pure grey each flag has its own icon, its own words and its own border."""
    bench.exam(FIRST, score=0.9)
    bench.exam(SECOND, score=0.1)
    bench.receive("1.2.3.3", "RCC")
    bench.judge(unassessed(Reason.UNREADABLE))
    bench.receive("1.2.3.4", "RCC")
    page.goto(bench.url)
    says(page.locator("#exams"), EN["flag.priority"])
    seen = []
    for index in range(4):
        page.locator(".item").nth(index).click()
        seen.append(
            page.evaluate(
                "() => { const f = document.querySelector('.flag'), s = getComputedStyle(f);"
                " return [f.querySelector('use').getAttribute('href'),"
                " f.querySelector('.word').textContent, s.borderStyle, s.backgroundColor] }"
            )
        )
    assert len({icon for icon, *_ in seen}) == 4
    assert len({words for _, words, *_ in seen}) == 4
    assert len({(border, ground) for *_, border, ground in seen}) == 4


def test_history_finds_by_accession_and_tells_the_story(bench, page):
    """Search narrows the list; the story has milliseconds; the export is a file."""
    bench.exam(FIRST, score=0.9, accession="A26-0001")
    bench.exam(SECOND, score=0.1, accession="B26-0002")
    page.goto(bench.url + "history")
    says(page.locator("#count"), "Exams found: 2")
    page.get_by_label(EN["history.accession"]).fill("b26")
    page.keyboard.press("Enter")
    says(page.locator("#count"), "Exams found: 1")
    page.locator("#past button").click()
    told = page.locator("#told tbody tr")
    says(told.first, "Image received: R CC")
    assert re.search(r":\d\d\.\d{3}$", told.first.locator("td").first.inner_text())
    says(told.last, "Revision 4: No priority, Final")
    with page.expect_download() as download:
        page.get_by_role("link", name=EN["history.export"]).click()
    assert download.value.suggested_filename.endswith(".json")
    page.get_by_label(EN["history.from"]).fill("2030-01-01T00:00")
    page.keyboard.press("Enter")
    says(page.locator("#count"), "No exam found")


def test_text_from_outside_is_text(bench, page):
    """An accession number with markup in it is shown as it is written."""
    bench.receive(FIRST, "RCC", accession="<img src=x onerror=alert(1)>", initials="<b>")
    page.goto(bench.url)
    says(page.locator(".identity strong"), "<img src=x onerror=alert(1)>")
    assert page.locator(".identity img, .identity b").count() == 0


def test_the_page_asks_nobody_else_and_is_small(bench, page):
    """Every request goes to the unit; page, style, module, icons and words are below 60 KB."""
    bench.exam(FIRST)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(bench.url)
    says(flag(page), EN["flag.none"])
    assert {url.split("/")[2] for url in asked} == {bench.url.split("/")[2]}
    files = ("", *(f"static/{name}" for name in STATIC), "text/fr.json")
    assert sum(len(page.request.get(bench.url + file).body()) for file in files) < 60_000


def test_five_hundred_exams_of_history_come_at_once(bench, page):
    """From the click to the last row without a delay that one sees; the time-out is generous."""
    for number in range(499):
        bench.exam(f"1.2.9.{number}", views=("RCC",), accession=f"H{number}")
    bench.exam(FIRST, accession="H500")
    page.goto(bench.url)
    says(flag(page), EN["flag.none"])
    page.goto(bench.url + "history")
    says(page.locator("#count"), "Exams found: 500")
    took_ms = page.evaluate(
        "async () => { const start = performance.now();"
        " document.querySelector('#search button').click();"
        " await new Promise(done => new MutationObserver(done)"
        "  .observe(document.querySelector('#past tbody'), {childList: true}));"
        " await new Promise(requestAnimationFrame); return performance.now() - start }"
    )
    assert page.locator("#past tbody tr").count() == 500
    print(f"500 exams of history: {took_ms:.0f} ms from click to rows")


def test_views_stand_as_radiographers_lay_them_out(bench, page):
    """The right breast at the left of the screen, CC above MLO."""
    bench.exam(FIRST)
    page.goto(bench.url)
    says(flag(page), EN["flag.none"])
    places = {view: tile(page, f"{view[0]} {view[1:]}").bounding_box() for view in ALL}
    assert places["RCC"]["x"] < places["LCC"]["x"]
    assert places["RCC"]["y"] < places["RMLO"]["y"]
    assert places["RMLO"]["x"] < places["LMLO"]["x"]
    assert places["LCC"]["x"] == places["LMLO"]["x"]


def test_sound_is_offered_only_where_the_site_wants_it(make_bench, page, bench):
    """A button, because browsers give sound only to a page that somebody touched."""
    page.goto(bench.url)
    says(page.locator("#live"), "Live")
    assert not page.locator("#sound").is_visible()
    loud = make_bench(sound=True)
    loud.console.start()
    page.goto(loud.url)
    page.get_by_role("button", name=EN["sound.on"]).click()
    says(page.locator("#sound"), EN["sound.is_on"])
    loud.exam(FIRST, score=0.9)
    says(flag(page), EN["flag.priority"])


def test_the_board_marks_no_place_and_the_readers_page_warns(make_bench, page):
    """Evidence is on a page of its own, which says what the product becomes by it."""
    bench = make_bench(
        evidence_page="detection aid, 21 CFR 892.2070; no longer triage, 21 CFR 892.2080"
    )
    bench.console.start()
    bench.receive(FIRST, "RCC")
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    artefact = write_evidence(bench.folder / "1.evidence.npy", values)
    bench.judge(replace(result(0.9), artefacts=(artefact,)))
    page.goto(bench.url)
    says(flag(page), EN["flag.priority"])
    assert page.locator("canvas").count() == 0
    assert "evidence" not in page.content()
    page.goto(bench.url + "history")
    page.locator("#past button").click()
    page.get_by_role("link", name=EN["history.evidence"]).click()
    says(page.locator(".alarm"), "892.2070")
    page.locator("canvas").wait_for()
    assert page.locator("canvas").get_attribute("width") == "3"
    assert violations(page) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"no map", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': "
     b"(99999999, 99999999), }" + b" " * 40 + b"\n", b"\x93NUMPY\x09\x00"],
)  # fmt: skip
def test_an_evidence_map_that_is_none_is_refused(content):
    """Cut off, of absurd size or of another kind: no map, no exception, no memory."""
    assert evidence_rows(content) is None
