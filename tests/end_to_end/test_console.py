"""The technologist's page on a real unit: real pipeline, real broker, real kills, real Chromium."""

from __future__ import annotations

import json
import os
import signal

import pytest
from pydicom import dcmread

from runtime.console.console import PACKAGE
from runtime.web.catalogue import load_catalogues
from tests.end_to_end.conftest import STORESCU, dcmtk_send, wait_for_final
from tests.support.exams import BRIGHT, VIEWS, write_exam
from tests.support.waiting import wait_until

EN = load_catalogues(PACKAGE)["en"].texts
SETTINGS = 'unacknowledged_after_s = 600\nlanguage = "en"'
GENEROUS_MS = 60_000


@pytest.fixture
def page(browser):
    """A kiosk's page."""
    context = browser.new_context(viewport={"width": 1024, "height": 768}, locale="en-GB")
    yield context.new_page()
    context.close()


def says(page, selector, text):
    """Waits until the first element of the selector says it."""
    from playwright.sync_api import expect

    expect(page.locator(selector).first).to_contain_text(text, timeout=GENEROUS_MS)


def sent_with_identity(folder, seed, *, accession, light=BRIGHT):
    """An exam whose files carry an identity."""
    exam = write_exam(folder, seed, light=light)
    for path in exam.files.values():
        ds = dcmread(path)
        ds.PatientName, ds.AccessionNumber = "Secretname^Zoe", accession
        ds.StudyDate, ds.StudyTime = "20260203", "101500"
        ds.save_as(path)
    return exam


def test_a_live_exam_from_the_unit_to_the_page_and_back_to_the_site(story, page):
    """Four views over DICOM: tiles with previews, the flag, identity; "seen" reaches the site.

    Of the identity on the page nothing is in any message or in the log.
    """
    story.broker.start()
    unit = story.unit(console=SETTINGS).start().wait_listening()
    subscriber = story.subscriber()
    page.goto(unit.console_url)
    says(page, "#exam", EN["today.none"])
    exam = sent_with_identity(story.folder / "exam", 31, accession="ACC-0815")
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    says(page, "#exam .flag .word", EN["flag.priority"])
    says(page, ".flag .state", EN["completed.expected_views"])
    says(page, ".identity", "ACC-0815S.Z.10:15")
    assert page.locator("#exam article").count() == 4
    pictures = page.locator("#exam article img")
    wait_until(lambda: pictures.count() == 4, "four previews")
    for index in range(4):
        drawn = "e => e.decode().then(() => e.naturalWidth)"
        assert pictures.nth(index).evaluate(drawn) >= 200
    page.get_by_role("button", name="Seen:").click()
    says(page, "p.seen", "Seen at")

    def acknowledged():
        events = [record.body for record in subscriber.topics("event")]
        return [event for event in events if event["event"] == "acknowledged"]

    wait_until(acknowledged, "the event")
    (event,) = acknowledged()
    assert event["exam_key"] == unit.message_factory().exam_key(exam.study_uid)
    heard = b"\n".join(r.topic.encode() + b" " + r.payload for r in subscriber.seen())
    for secret in ("Secretname", "ACC-0815", "S.Z.", "20260203101500", exam.study_uid):
        assert secret.encode() not in heard, secret
        assert secret not in unit.log, secret
    assert unit.stop() == 0


def test_a_priority_that_nobody_sees_is_said_to_the_site(story, page):
    """After the settable time the site is told, once, and the page says so."""
    story.broker.start()
    unit = story.unit(console="unacknowledged_after_s = 1").start().wait_listening()
    subscriber = story.subscriber()
    page.goto(unit.console_url)
    exam = write_exam(story.folder / "exam", 32, light=BRIGHT)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    says(page, ".flag div.seen", EN["seen.overdue"])

    def overdue():
        events = [record.body["event"] for record in subscriber.topics("event")]
        return events.count("unacknowledged")

    wait_until(lambda: overdue() == 1, "the event")


def test_the_page_is_right_while_the_broker_is_away(story, page):
    """Without any broker the flag is on the page, and the box says that the site is not told."""
    unit = story.unit(console=SETTINGS).start().wait_listening()
    page.goto(unit.console_url)
    exam = write_exam(story.folder / "exam", 33, light=BRIGHT)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    says(page, "#exam .flag .word", EN["flag.priority"])
    says(page, "#box", "messages waiting:")
    says(page, "#troubles", EN["trouble.B1.what"])
    story.broker.start()
    says(page, "#box", EN["box.broker.connected"])
    wait_until(lambda: page.locator("#troubles .alarm").count() == 0, "no trouble left")


def test_a_killed_worker_is_replaced_under_the_open_page(story, page):
    """She is told while it starts; the restart is counted at the foot; the next exam is judged."""
    story.broker.start()
    unit = story.unit(console=SETTINGS).start().wait_listening()
    page.goto(unit.console_url)
    unit.wait_log("worker ready")
    page.locator("#troubles .alarm").wait_for(state="detached", timeout=GENEROUS_MS)
    os.kill(unit.worker_pid(), signal.SIGKILL)
    says(page, "#troubles", EN["trouble.S1.what"])
    exam = write_exam(story.folder / "exam", 34)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    says(page, "#exam .flag .word", EN["flag.none"])
    says(page, "#box", "Restarts1")


def test_the_page_survives_the_death_of_the_service(story, page):
    """Killed: not live after ten seconds. Started again: live by itself, with what was there."""
    story.broker.start()
    unit = story.unit(console=SETTINGS).start().wait_listening()
    subscriber = story.subscriber()
    page.goto(unit.console_url)
    exam = write_exam(story.folder / "exam", 35, light=BRIGHT)
    dcmtk_send(STORESCU, unit, [exam.files[view] for view in VIEWS[:3]])
    says(page, "#exam .flag .word", EN["flag.priority"])
    unit.kill()
    page.locator("#lost").wait_for(state="visible", timeout=GENEROUS_MS)
    says(page, "#lost h2", "NOT LIVE since")
    unit.start().wait_listening()
    page.locator("#lost").wait_for(state="hidden", timeout=GENEROUS_MS)
    dcmtk_send(STORESCU, unit, [exam.files[VIEWS[3]]])
    says(page, ".flag .state", EN["completed.expected_views"])
    wait_for_final(subscriber, exam.study_uid, unit)
    story_of = json.loads(
        page.request.get(
            f"{unit.console_url}exams/{unit.message_factory().exam_key(exam.study_uid)}.json"
        ).body()
    )
    whats = [one["what"] for one in story_of["happenings"]]
    assert whats.count("received") == 4
    assert "published" in whats


def test_without_the_section_there_is_no_page_and_no_identity(story):
    """A unit without [console] listens nowhere for browsers and keeps no accession number."""
    import sqlite3

    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = sent_with_identity(story.folder / "exam", 36, accession="ACC-0816", light=0.5)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    wait_for_final(subscriber, exam.study_uid, unit)
    assert unit.stop() == 0
    assert not list((unit.folder / "data" / "spool").glob("*.preview.jpg"))
    with sqlite3.connect(unit.folder / "data" / "ledger.db") as ledger:
        kept = ledger.execute(
            "SELECT accession_number || initials || study_time FROM exam_identities"
        ).fetchall()
    assert kept == [("",)]
