"""Tables that repeat what the code decides say what it says; a new code without a row fails."""

from __future__ import annotations

import re

import pytest
from pydicom.datadict import tag_for_keyword

from firmware_bridge.dicom_network.store_status import StoreStatus
from firmware_bridge.dicom_network.transfer_syntaxes import TRANSFER_SYNTAXES, accepted_contexts
from firmware_bridge.dicom_services.conformance import FACTS, dicom_tables
from runtime.console.console import PACKAGE
from runtime.dicom.stored_image import IMAGE_TAGS
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason, Remark
from runtime.messages.payloads import EventKind
from runtime.site.alarms.alarm_rules import AlarmKind
from runtime.site.report.wording import site_catalogues
from runtime.site.subscriber.parsing import ForeignReason
from runtime.web.catalogue import load_catalogues
from runtime.web.languages import LANGUAGES
from tests.docs.pages import page

TROUBLESHOOTING = page("docs/troubleshooting.md")
CONSOLE = load_catalogues(PACKAGE)
SITE = site_catalogues()["en"].texts
CODES = {key.split(".")[1] for key in CONSOLE["en"].texts if key.startswith("trouble.")}
SEPARATOR = " · "


def rows_of(text: str) -> list[list[str]]:
    """The rows of all tables, cell by cell, heads and rules left out."""
    rows = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_the_conformance_statement_has_the_tables_of_the_code():
    """Classes, syntaxes, attributes, reasons, remarks: as `mammoedge reference dicom` prints."""
    tables = dicom_tables().rstrip()
    assert f"<!-- mammoedge reference dicom -->\n\n{tables}\n\n<!-- end -->" in (
        page("docs/connect-dicom.md").text
    )


def test_the_conformance_statement_names_what_is_accepted_and_read():
    """Every context, every attribute that the reader keeps, every reason and remark, each once."""
    rows = rows_of(dicom_tables())
    classes = {row[1]: row[3] for row in rows if row[2:3] == ["SCP"]}
    contexts = {str(context.abstract_syntax): context for context in accepted_contexts()}
    assert classes.keys() == contexts.keys()
    for uid, said in classes.items():
        syntaxes = contexts[uid].transfer_syntax
        assert (said == "all below") == (tuple(map(str, syntaxes)) == TRANSFER_SYNTAXES), uid
    assert {tag_for_keyword(word) for fact in FACTS for word in fact.keywords} == IMAGE_TAGS
    codes = {code for fact in FACTS for code in fact.codes.split(", ") if code}
    assert codes <= {*Reason, *Remark}
    first = [row[0].strip("`") for row in rows]
    assert all(first.count(code) == 1 for code in (*Reason, *Remark))


def test_every_answer_to_a_c_store_is_told():
    """By its status."""
    said = re.findall(r"^\| `([0-9A-F]{4})`", page("docs/connect-dicom.md").text, re.MULTILINE)
    assert {int(code, 16) for code in said} == set(StoreStatus)


def test_every_code_event_and_reason_has_what_to_do():
    """Console codes, status reasons with their code, event kinds, reasons of foreign messages."""
    rows = [[cell.strip("`") for cell in row] for row in rows_of(TROUBLESHOOTING.text)]
    first = {row[0] for row in rows}
    coded = {row[0]: row[1] for row in rows if row[1] in CODES}
    reasons = {key.removeprefix("degraded.") for key in SITE if key.startswith("degraded.")}
    assert reasons == coded.keys()
    assert first | set(coded.values()) >= CODES
    assert set(EventKind) <= first
    assert [row for row in rows if not row[-1]] == []
    assert set(ForeignReason) <= set(TROUBLESHOOTING.spans)


def test_every_alarm_has_the_words_of_the_page():
    """Kind and what to do, as the fleet page says it."""
    told = {row[0].strip("`"): row[-1] for row in rows_of(page("docs/site/alarms.md").text)}
    assert set(AlarmKind) <= told.keys()
    for kind in AlarmKind:
        assert told[kind] in (SITE[f"alarm.{kind}.do"], "the same"), kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_technologists_page_has_the_words_of_the_console(language):
    """Flags, reasons and codes, each with what to do, in each language; nothing to do in a line."""
    texts = CONSOLE[language].texts
    told = page(f"docs/technologist/{language}.md")
    rows = rows_of(told.text)
    assert f"**{texts['research']}**" in told.text
    for flag in (*Flag, "not_yet"):
        assert [f"**{texts[f'flag.{flag}']}**", texts[f"flag.{flag}.means"]] in rows
    for code in sorted(CODES):
        assert [code, texts[f"trouble.{code}.what"], texts[f"trouble.{code}.do"]] in rows
    assert [row[-1] for row in rows if row[0] == "P1"] == [texts["live.lost.do"]]
    flat = " ".join(told.text.split())
    for reason in Reason:
        what, do = texts[f"reason.{reason}.what"], texts[f"reason.{reason}.do"]
        if do == texts["do.nothing"]:
            assert what in re.split(r": | · |\.", flat), reason
        else:
            assert [row for row in rows if row[1] == do and what in row[0].split(SEPARATOR)], reason


def test_every_figure_has_the_command_that_prints_it():
    """Evidence: each row of a table with commands has one; each section names one."""
    text = page("docs/evidence.md").text
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rows = rows_of(section)
        commands = re.search(r"`(make|python -m|mammoedge|pytest) ?", section)
        assert commands or section.startswith("Devices"), section.splitlines()[0]
        if rows and rows[0][-1] == "command":
            for row in rows[1:]:
                assert row[-1].startswith(("`", "the same", "---")), row
