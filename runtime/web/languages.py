"""The languages that pages speak."""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal["en", "de", "es", "fr"]
LANGUAGES: tuple[str, ...] = get_args(Language)
LANGUAGE_COOKIE = "mammoedge_language"
YEAR_S = 365 * 24 * 3600


def chosen_language(cookie: str | None, fallback: str) -> str:
    """What a person chose at this screen, else what the site has set."""
    return cookie if cookie in LANGUAGES else fallback
