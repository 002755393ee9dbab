"""What does not fit together within a recipe, and on which line of its file a fault stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from models.manifest import ChannelsStep, CropStep, NormaliseStep, ResizeStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.manifest import InputPort, Recipe

Place = tuple[str | int, ...]
"""Of a key in a recipe: `("preparation", 2, "height")`."""


def misfits(
    inputs: Sequence[tuple[InputPort, Recipe]], precisions: Sequence[str], default: str
) -> list[tuple[Place, str]]:
    """Where parts of a recipe contradict each other, and how.

    Args:
        inputs: each with its preparation.
        precisions: that the package gets.
        default: the one that is wanted first.
    """
    found: list[tuple[Place, str]] = []
    if default not in precisions:
        told = f"{default} is none of `precisions`: {', '.join(precisions)}"
        found.append((("default_precision",), told))
    for number, (port, steps) in enumerate(inputs):
        above: Place = ("preparation",)
        if port.preparation is not None:
            above = ("inputs", number, "preparation", "steps")
        found += _wrong_means(steps, above)
        shape = prepared_shape(steps)
        if shape is not None and shape != port.shape:
            told = f"{list(port.shape)}, but its preparation makes {list(shape)}"
            found.append((("inputs", number, "shape"), told))
    return list(dict.fromkeys(found))


def prepared_shape(recipe: Recipe) -> tuple[int, ...] | None:
    """Of the tensor that the steps make; None where it depends on the image."""
    height = width = None
    shape: tuple[int, ...] | None = None
    for step in recipe.steps:
        if isinstance(step, ResizeStep) or (isinstance(step, CropStep) and step.height):
            height, width = step.height, step.width
        elif isinstance(step, ChannelsStep) and height and width:
            channels_first = step.layout == "NCHW"
            size = (step.count, height, width) if channels_first else (height, width, step.count)
            shape = (1, *size)
    if shape is None and height and width:
        return height, width
    return shape


def _wrong_means(recipe: Recipe, above: Place) -> list[tuple[Place, str]]:
    channels = next((step.count for step in recipe.steps if isinstance(step, ChannelsStep)), 1)
    return [
        (
            (*above, number, "mean"),
            f"{len(step.mean)} figures, for {channels} channel{'s' * (channels > 1)}",
        )
        for number, step in enumerate(recipe.steps)
        if isinstance(step, NormaliseStep) and len(step.mean) not in {0, 1, channels}
    ]


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """The line on which the value at `place` stands or begins; None where none is found.

    Keys are looked for in their order, entries of a list by `[[name]]` or by their opening
    brackets: what a person would do, without a second parser of TOML.
    """
    at, found = 0, None
    for part, following in zip(place, (*place[1:], None), strict=True):
        if isinstance(part, int):
            continue  # found with the name of its list
        name = re.escape(part)
        pattern = rf"(?m)(?:^[ \t]*|[{{,]\s*)({name})\s*=|^\s*\[({name})\]"
        hits = list(re.finditer(pattern, text[at:]))[:1]
        if isinstance(following, int):
            tables = list(re.finditer(rf"(?m)^\s*\[\[({name})\]\]", text[at:]))
            entries = tables or list(
                re.finditer(r"(\{)", text[at + hits[0].end() :] if hits else "")
            )
            start = at if tables or not hits else at + hits[0].end()
            if following >= len(entries):
                continue
            found = start + entries[following].start(1)
            at = start + entries[following].end()
        elif hits:
            found = at + hits[0].start(hits[0].lastindex or 0)
            at += hits[0].end()
    return None if found is None else text.count("\n", 0, found) + 1
