"""Parts of a report or a card that a later command adds or renews; markers are HTML comments."""

from __future__ import annotations

RECIPE_HEADING = "<h2>Recipe</h2>"
"""Of report.html: what is added later stands before it."""


def section(name: str, body: str) -> str:
    """`body` between markers, so that it can be renewed."""
    return f"<!--{name}-->{body}<!--/{name}-->"


def with_section(text: str, name: str, body: str, *, before: str = "") -> str:
    """`text` with the section called `name`: renewed, or placed before `before`, or at the end."""
    opening, closing = f"<!--{name}-->", f"<!--/{name}-->"
    head, found, rest = text.partition(opening)
    if found:
        _, _, tail = rest.partition(closing)
        return head + section(name, body) + tail
    if before and before in text:
        head, _, tail = text.partition(before)
        return head + section(name, body) + before + tail
    return text + section(name, body) + "\n"
