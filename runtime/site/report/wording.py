"""Words and figures in a language, for what is written on the server: histories and reports."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.web.catalogue import load_catalogues
from runtime.web.markup import Markup, el

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.web.catalogue import Catalogue

PACKAGE = "runtime.site.page"
"""Where the site's message files and pages lie."""
PLACE = re.compile(r"\{(\w+)\}")
NOTHING = "\u2013"
"""An en dash."""


class Wording:
    """A language's words; figures as that language writes them. Times are UTC."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.language = catalogue.language
        self._texts: Mapping[str, str] = catalogue.texts

    def t(self, key: str, **values: str | int) -> str:
        """The words of a key. Raises KeyError: there are none (a defect)."""
        return PLACE.sub(lambda place: str(values[place[1]]), self._texts[key])

    def named(self, family: str, code: str, part: str = "") -> str:
        """The words for a code that a unit sent, or "other (CODE)": units may be newer than we."""
        words = self.words(family, code, part)
        return self.t("code.other", code=code) if words is None else words

    def words(self, family: str, code: str, part: str = "") -> str | None:
        """The words for a code; None where there are none."""
        return self._texts.get(f"{family}.{code}{part}")

    def number(self, value: float | None, digits: int = 0) -> str:
        """A figure; a dash for none."""
        if value is None:
            return NOTHING
        text = f"{value:,.{digits}f}"
        swap = {",": self._texts["number.thousands"], ".": self._texts["number.decimal"]}
        return "".join(swap.get(letter, letter) for letter in text)

    def percent(self, share: float | None) -> str:
        """A share of 0-1, with one digit."""
        if share is None:
            return NOTHING
        return self.t("number.percent", n=self.number(100 * share, 1))

    def milliseconds(self, value: float | None) -> str:
        """A duration in ms or s."""
        if value is None:
            return NOTHING
        return f"{self.number(value)} ms" if value < 10_000 else f"{self.number(value / 1000)} s"

    @staticmethod
    def day(at_ms: int) -> str:
        """`YYYY-MM-DD`: the same in every language, and never mistaken."""
        return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d")

    @staticmethod
    def time(at_ms: int) -> Markup:
        """A moment; a page with a module shows it by the reader's own clock."""
        moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
        return el(
            "time",
            moment.strftime("%Y-%m-%d %H:%M"),
            datetime=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            data_at=str(at_ms),
        )

    def month(self, year: int, month: int) -> str:
        """A month's name and year."""
        return self.t("month.of_year", month=self.t(f"month.{month}"), year=year)


def site_catalogues() -> dict[str, Catalogue]:
    """The site's words, on top of the console's: reasons and flags are called the same."""
    return load_catalogues("runtime.console", PACKAGE)
