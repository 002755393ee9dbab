"""The page's words: complete in every language, and never in code."""

from __future__ import annotations

import io
import re
from importlib.resources import files

import pytest

from runtime.console.console import PACKAGE
from runtime.exam_rules.exam_flag import Completion
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.ledger.exam_history import Note
from runtime.messages.status_reason import StatusReason
from runtime.web.catalogue import CatalogueError, load_catalogues, parse_messages
from runtime.web.languages import LANGUAGES
from runtime.web.pages import load_pages

CATALOGUES = load_catalogues(PACKAGE)


def wanted() -> set[str]:
    """Every key that something can ask for."""
    keys = {f"reason.{reason}.{part}" for reason in Reason for part in ("what", "do")}
    keys |= {f"trouble.{reason.code}.{part}" for reason in StatusReason for part in ("what", "do")}
    keys |= {f"completed.{completion}" for completion in Completion}
    keys |= {f"flag.{flag}" for flag in Flag} | {f"flag.{flag}.means" for flag in Flag}
    keys |= {f"story.{note}" for note in Note}
    return keys


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_trouble_and_flag_has_words(language):
    """A new reason without words in four languages fails here."""
    texts = CATALOGUES[language].texts
    assert wanted() <= set(texts)
    assert [key for key, text in texts.items() if not text.strip()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_say_the_same_things(language):
    """Same keys, same placeholders as in English."""
    english, other = CATALOGUES["en"].texts, CATALOGUES[language].texts
    assert set(other) == set(english)
    for key, text in english.items():
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", other[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_babel_reads_the_same_messages(language):
    """The files are gettext's own: an independent reader finds the same, and no fault."""
    pofile = pytest.importorskip("babel.messages.pofile", reason="extra [test] is not installed")
    source = (files("runtime.console") / "locale" / f"{language}.po").read_bytes()
    catalog = pofile.read_po(io.BytesIO(source), abort_invalid=True)
    assert {m.id: m.string for m in catalog if m.id} == CATALOGUES[language].texts
    assert catalog.locale.language == language


def test_pages_and_module_ask_for_words_that_exist():
    """Every {{key}} of a page and every t("key") of the module is in the files."""
    pages = load_pages(PACKAGE, CATALOGUES)
    texts = set(CATALOGUES["en"].texts)
    asked = {key for page in pages.html.values() for key in re.findall(r"\{\{([\w.]+)\}\}", page)}
    for module in ("web.js", "console.js"):
        asked |= set(re.findall(r'\bt\("([\w.]+)"', pages.static[module].decode()))
    assert asked - {"language", "sound", "evidence", "problem"} <= texts


def test_no_text_stands_in_pages():
    """Between the tags of a page there are placeholders only."""
    for name, page in load_pages(PACKAGE, CATALOGUES).html.items():
        visible = re.sub(r"<[^>]*>|\{\{[\w.]+\}\}", " ", page).replace("·", " ")
        languages = {"English", "Deutsch", "Español", "Français"}
        assert set(visible.split()) <= languages, name


def test_a_damaged_file_is_refused_with_its_line():
    """A line that is no string stops the start; it is not skipped."""
    with pytest.raises(CatalogueError) as caught:
        parse_messages("en", ['msgid "a"', 'msgstr "b', ""])
    assert caught.value.line == 2


def test_text_may_run_over_several_lines():
    """As translators' tools wrap it."""
    lines = ['msgid ""', 'msgstr "Language: en\\n"', 'msgid "a."', '"b"', 'msgstr "x"', '" y"']
    assert parse_messages("en", lines) == {"a.b": "x y"}
