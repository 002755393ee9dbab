"""A page's words, by language, from gettext message files (`locale/LANGUAGE.po`).

The keys are ids (`reason.unreadable.what`), not English: no text stands in code. The files are
read as they are at the start, a few hundred lines each, so that nothing has to be compiled.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from models.errors import InternalError
from runtime.web.languages import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CatalogueError(InternalError):
    """A message file is damaged; `line` counts from 1."""

    def __init__(self, language: str, line: int) -> None:
        self.language = language
        self.line = line
        super().__init__(f"{language}.po, line {line}: neither msgid, msgstr nor text")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The words of one language."""

    language: str
    texts: Mapping[str, str]

    def as_json(self) -> bytes:
        """For the page's module."""
        return json.dumps(self.texts, ensure_ascii=False).encode()


def parse_messages(language: str, lines: Iterable[str]) -> dict[str, str]:
    """The entries of a .po file: msgid and msgstr, each of one or more quoted lines.

    Raises:
        CatalogueError: a line is none of those (plural forms and contexts are not used here).
    """
    texts: dict[str, str] = {}
    key, part = "", ""
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        keyword, _, quoted = line.partition(" ") if line.startswith("msg") else ("", "", line)
        try:
            text = ast.literal_eval(quoted)  # a .po string is a C string: Python reads it alike
        except (ValueError, SyntaxError) as error:
            raise CatalogueError(language, number) from error
        if keyword not in ("", "msgid", "msgstr") or not isinstance(text, str):
            raise CatalogueError(language, number)
        part = keyword or part
        if keyword == "msgid":
            key = text
        elif keyword == "msgstr":
            texts[key] = text
        elif part == "msgid":
            key += text
        else:
            texts[key] = texts.get(key, "") + text
    texts.pop("", None)  # the file's own header
    return texts


def load_catalogues(*packages: str) -> dict[str, Catalogue]:
    """All languages, from the folders `locale` of packages; a later package's words count.

    Raises:
        CatalogueError: a message file is damaged.
    """
    texts: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    for package in packages:
        folder = files(package) / "locale"
        for language in LANGUAGES:
            lines = (folder / f"{language}.po").read_text(encoding="utf-8").splitlines()
            texts[language] |= parse_messages(language, lines)
    return {language: Catalogue(language=language, texts=texts[language]) for language in LANGUAGES}
