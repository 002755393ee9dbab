"""HTML and SVG made in Python: what is not markup already is text, and is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VOID = frozenset({"br", "img", "input", "link", "meta", "col"})


class Markup(str):
    """Text that is HTML. Only `el` and `joined` make it."""

    __slots__ = ()


Child = Markup | str | None


def el(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element; an attribute that is None is left out, `aria_label` is written aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """One after the other."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def escaped(text: str) -> Markup:
    """As HTML: markup stays what it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def _plain(value: str | float) -> str:
    """Coordinates without a tail of digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
