"""A unit of a later version at a site of this one: its words are unknown, its flags are heard."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.messages.payloads import OtherCode
from runtime.web.languages import LANGUAGES
from tests.conftest import ROOT, module_or_skip, skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.builders import exam_flag, image, result
from tests.support.unit_under_test import Unit, now_ms
from tests.support.waiting import CHILD_S, lines_of, next_line, wait_until

module_or_skip("sqlalchemy", "extra [site] is not installed")

from runtime.site.page.unit_page import unit_body  # noqa: E402
from runtime.site.queries.unit_history import unit_history  # noqa: E402
from runtime.site.report.wording import Wording, site_catalogues  # noqa: E402
from tests.support.site_service import RunningSite  # noqa: E402

DAY_MS = 86_400_000
OTHER = {"en": "other ({})", "de": "anderes ({})", "es": "otro ({})", "fr": "autre ({})"}


def later(publication, **fields):
    """What a unit of a later version says instead."""
    return replace(publication, message=publication.message.model_copy(update=fields))


def say_with_later_words(unit) -> int:
    """A view, a priority exam and an event with words of a later version; the last number."""
    factory, at_ms = unit.message_factory, now_ms()
    seen = image("RCC", result(0.9), image_id=1)
    view = factory.view_message(seen, study_instance_uid="1.2.3", at_ms=at_ms, stage_ms={})
    exam = factory.exam_message(
        exam_flag(study_instance_uid="1.2.3", images=(seen,), flag=Flag.PRIORITY), at_ms=at_ms
    )
    entry = exam.message.views[0].model_copy(
        update={"reasons": (OtherCode("positioning_poor"),), "role": OtherCode("magnified")}
    )
    event = factory.event_message("exposure", at_ms=at_ms)
    for publication in (
        later(view, remarks=(OtherCode("voi_lut_guessed"),), outcome=OtherCode("deferred"),
              reasons=(Reason.IMPLANT, OtherCode("positioning_poor"))),
        later(exam, completed_by=OtherCode("technologist"), views=(entry,),
              reasons=(OtherCode("positioning_poor"),)),
        later(event, event=OtherCode("paddle_changed")),
    ):  # fmt: skip
        seq = unit.ledger.add_event(publication, at_ms)
    return seq


@pytest.fixture
def broker(tmp_path):
    """A Mosquitto."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    running = Mosquitto(tmp_path / "broker").start()
    yield running
    running.kill()


@pytest.fixture
def unit(tmp_path, broker):
    """A unit that is not started yet."""
    made = Unit(tmp_path / "unit", broker.port)
    yield made
    made.close()


@pytest.mark.timeout(200)
def test_unknown_words_reach_store_page_and_terminal_and_the_flag_is_the_same(
    tmp_path, broker, unit
):
    """Through the broker into `tail --json`, the site's store, its queries and its page."""
    tail = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "tail", "--site", "st-anna", "--no-tls",
         "--broker", f"127.0.0.1:{broker.port}", "--json", "--until", "kind=event",
         "--timeout", "120"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    site = RunningSite(tmp_path / "site", broker.port, f"sqlite:///{tmp_path}/site.db")
    try:
        site.start()
        lines = [next_line(tail.stdout, "tail listens")]
        unit.start()
        last = say_with_later_words(unit)
        lines += lines_of(tail.stdout, "tail's lines", CHILD_S)
        assert tail.wait(CHILD_S) == 0
        heard = [json.loads(line) for line in lines]
        assert not [each for each in heard if each["change"] == "foreign"]
        rows = {e["message"]["schema"]: e["message"] for e in heard if e["change"] == "row"}
        assert rows["mammoedge.exam/1"]["flag"] == "priority"
        assert rows["mammoedge.exam/1"]["completed_by"] == "technologist"
        assert rows["mammoedge.exam/1"]["views"][0]["role"] == "magnified"
        assert rows["mammoedge.view/1"]["remarks"] == ["voi_lut_guessed"]
        assert rows["mammoedge.event/1"]["event"] == "paddle_changed"
        wait_until(lambda: settled(site, last), what="everything is in the store")
        now = site.unit()
        assert (now.today.priority, now.gap.missing, now.gap.lost) == (1, 0, 0)
        assert {each.reason for each in now.not_assessed_reasons} == {"implant", "positioning_poor"}
        assert site.summary().foreign == ()
        history = unit_history(
            site.store, "st-anna", "mammo-1", since_ms=now_ms() - DAY_MS, until_ms=now_ms() + 1
        )
        for language in LANGUAGES:
            page = str(unit_body(history, Wording(site_catalogues()[language]), 7))
            for code in ("positioning_poor", "paddle_changed"):
                assert OTHER[language].format(code) in page, (language, code)
    finally:
        tail.kill()
        tail.wait(CHILD_S)
        site.stop()


def settled(site, last_seq) -> bool:
    """Whether everything up to a number is in the store."""
    with sqlite3.connect(site.store.url.database) as looking:
        rows = looking.execute("SELECT settled_seq, missing FROM streams").fetchall()
    return rows == [(last_seq, 0)]
