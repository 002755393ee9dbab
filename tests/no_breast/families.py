"""Every family of pictures that are no breast, by name; each picture drawn from a seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.no_breast import drawings, fields, photographs, radiographs, real_radiographs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

SHAPES = ((640, 520), (768, 512), (560, 560), (600, 800))
"""Rows and columns; real units give the first two kinds."""
BITS = 12

DRAWN: dict[str, Callable[[Generator, tuple[int, int]], NDArray[np.float32]]] = {
    function.__name__: function
    for function in (
        fields.white_noise,
        fields.clouds,
        fields.clouds_at_a_wall,
        fields.gradient,
        fields.glow,
        fields.flat_field,
        fields.saturated_side,
        drawings.text_page,
        drawings.huge_letters,
        drawings.screenshot,
        drawings.barcode,
        drawings.checkerboard,
        drawings.step_wedge,
        drawings.display_pattern,
        drawings.shapes,
        drawings.moire,
        radiographs.chest_film,
        radiographs.half_chest_film,
        radiographs.lateral_chest,
        radiographs.hand_film,
        radiographs.knee_film,
        radiographs.skull_film,
        radiographs.collimated,
        radiographs.quality_block,
        radiographs.ultrasound,
        radiographs.body_slice,
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One picture that is no breast."""

    family: str
    number: int
    pixels: NDArray[np.uint16]
    """rows x columns, 0 to 4095."""


def drawn(each: int) -> Iterator[Case]:
    """`each` pictures of every drawn family."""
    for family, function in DRAWN.items():
        for number in range(each):
            # crc32, not hash(): the same picture in every process.
            draw = np.random.default_rng([zlib.crc32(family.encode()), number])
            shape = SHAPES[number % len(SHAPES)]
            yield _case(family, number, function(draw, shape))


def photographed(
    each: int, pictures: Mapping[str, NDArray[np.float32]] | None = None
) -> Iterator[Case]:
    """`each` of every variant of every photograph: `pictures`, else all that are installed."""
    chosen = photographs.installed_photographs() if pictures is None else pictures
    for name, picture in chosen.items():
        for variant in photographs.VARIANTS:
            for number in range(1 if variant is photographs.whole else each):
                draw = np.random.default_rng([zlib.crc32(name.encode()), number])
                shape = SHAPES[number % len(SHAPES)]
                family = f"photograph, {variant.__name__.replace('_', ' ')}"
                yield _case(family, number, variant(draw, picture, shape))


def radiographed(pieces: int) -> Iterator[Case]:
    """Each radiograph in every way to lie, then so many pieces of each of those."""
    for name, picture in real_radiographs.radiographs().items():
        for way, lying in enumerate(real_radiographs.ways_to_lie(picture)):
            yield _case("radiograph, whole", way, lying)
            for number in range(pieces):
                draw = np.random.default_rng([zlib.crc32(name.encode()), way, number])
                part = real_radiographs.piece(draw, lying)
                yield _case("radiograph, piece", way * pieces + number, part)


def _case(family: str, number: int, picture: NDArray[np.floating]) -> Case:
    stored = np.rint(np.clip(picture, 0, 1) * (2**BITS - 1)).astype(np.uint16)
    return Case(family=family.replace("_", " "), number=number, pixels=np.ascontiguousarray(stored))
