"""One vocabulary: the glossary's words, in pages and in message files."""

from __future__ import annotations

import ast
import re

import pytest

from runtime.console.console import PACKAGE
from runtime.site.report.wording import site_catalogues
from runtime.web.catalogue import load_catalogues
from tests.conftest import ROOT
from tests.docs.pages import SPAN, page, told

CONSOLE = load_catalogues(PACKAGE)["en"].texts
SITE = site_catalogues()["en"].texts

# Another word for a term of the glossary, and the phrases in which it is not that.
NOT_OURS = {
    r"radiographers?": (),
    r"technicians?": (),
    r"stud(?:y|ies)": (
        "study instance uid",
        "study and sop instance",
        "study_",
        "study of its own",
    ),
    r"examinations?": (),
    r"dashboards?": ("grafana dashboard", "that a dashboard"),
    r"cut-?offs?": (),
    r"bundles?": (),
    r"wom[ae]n": (),
    r"appliances?": (),
    r"false negatives?": (),
    r"not judged": (),
}
# The technologist's word for the computer beside the mammography unit; on paper it is the unit. In
# the references of recipe and manifest it is a shape in an image.
BOX = ("breast box", "box of 22 mm", "box of 40 mm", "box 22 mm", "box 40 mm")
# Where words are looked at, and images that nobody looked at: "kept and not judged".
APART = {"docs/glossary.md", "converters/training/TRIALS.md"}
READERS_PAGES = [
    one
    for one in told()
    if one.name not in APART and not re.search(r"technologist/(de|es|fr)", one.name)
]


def found(text: str, words: dict[str, tuple[str, ...]]) -> list[str]:
    """The foreign words in it."""
    plain = " ".join(SPAN.sub("", text).lower().split())
    hits = []
    for word, allowed in words.items():
        bare = plain
        for phrase in allowed:
            bare = bare.replace(phrase, "")
        hits += re.findall(rf".{{0,30}}\b{word}\b.{{0,10}}", bare)
    return hits


@pytest.mark.parametrize("told", READERS_PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_glossary(told):
    """No other word for exam, technologist, unit, patient, package, operating point."""
    words = {word: allowed for word, allowed in NOT_OURS.items() if word != "not judged"}
    if "technologist" not in told.name and not told.name.startswith("docs/reference"):
        words |= {r"box(?:es)?": BOX}
    assert found(told.prose, words) == []


@pytest.mark.parametrize("texts", [CONSOLE, SITE], ids=["console", "site"])
def test_message_files_use_them_too(texts):
    """In English; the box is the console's word for the computer beside the unit, no other's."""
    words = dict(NOT_OURS) | ({} if texts is CONSOLE else {"box": ()})
    own = {key: text for key, text in texts.items() if texts is CONSOLE or key not in CONSOLE}
    assert {key: hits for key, text in own.items() if (hits := found(text, words))} == {}


def test_flags_have_one_name():
    """Console, fleet page and glossary."""
    glossary = page("docs/glossary.md").text
    for texts in (CONSOLE, SITE):
        assert texts["flag.none"] == "No priority"
        assert texts["flag.not_assessed"] == "Not assessed"
    for key in ("flag.provisional", "flag.final", "flag.none", "flag.not_assessed"):
        assert f"**{CONSOLE[key].lower()}**" in glossary.lower(), key
    assert f"*{CONSOLE['flag.priority']}*" in glossary


def test_every_term_of_the_glossary_is_used():
    """A word that nobody uses is no term."""
    terms = re.findall(
        r"^- (\*\*.+?\*\*)(?:, (\*\*.+?\*\*))?: ", page("docs/glossary.md").text, re.MULTILINE
    )
    assert len(terms) > 30
    elsewhere = " ".join([*(one.text.lower() for one in READERS_PAGES), *CONSOLE.values()]).lower()
    names = {term.strip("*") for pair in terms for term in pair if term}
    assert {name for name in names if name.lower() not in elsewhere} == set()


def test_docstrings_use_them_too():
    """Where a word has no other meaning in code."""
    words = dict.fromkeys((r"radiographers?", r"technicians?", r"wom[ae]n", r"appliances?"), ())
    hits = {}
    for folder in ("models", "runtime", "firmware_bridge", "converters"):
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_bytes())
            said = [ast.get_docstring(node) or "" for node in ast.walk(tree) if _documented(node)]
            if foreign := found("\n".join(said), words):
                hits[str(file.relative_to(ROOT))] = foreign
    assert hits == {}


def _documented(node: ast.AST) -> bool:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
