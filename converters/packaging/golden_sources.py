"""Golden cases of phantoms: three images that may ship with any package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from converters.packaging.assembly import GoldenSource
from converters.packaging.phantom import Phantom
from models.golden import GoldenFacts

if TYPE_CHECKING:
    from converters.importing.recipe import PackageRecipe
    from models.manifest import InputPort

CASES: tuple[tuple[str, Literal["R", "L"], bool], ...] = (
    ("left-lesion", "L", True),
    ("right-lesion", "R", True),
    ("left-clear", "L", False),
)
SPACING_MM = 0.25


def phantom_cases(recipe: PackageRecipe) -> list[GoldenSource]:
    """Three cases with an image for each input of the recipe."""
    return [
        _case(recipe, name, laterality, seed=10 * index, lesion=lesion)
        for index, (name, laterality, lesion) in enumerate(CASES, start=1)
    ]


def _case(
    recipe: PackageRecipe, name: str, laterality: Literal["R", "L"], *, seed: int, lesion: bool
) -> GoldenSource:
    facts, pixels = [], []
    for number, port in enumerate(recipe.inputs):
        side = port.view[0] if port.view[0] in "RL" else laterality
        phantom = Phantom(
            laterality=side, lesion=lesion, seed=seed + number, pixel_spacing_mm=SPACING_MM
        )
        facts.append(_facts(port, "R" if side == "R" else "L"))
        pixels.append(phantom.pixels())
    return GoldenSource(name=name, facts=tuple(facts), pixels=tuple(pixels))


def _facts(port: InputPort, laterality: Literal["R", "L"]) -> GoldenFacts:
    return GoldenFacts(
        slot=port.view,
        tensor=port.tensor,
        laterality=laterality,
        view="MLO" if port.view.endswith("MLO") else "CC",
        bits_stored=12,
        pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        # Narrower than the values, so that the window's ends are proved as well.
        window_center=2048.0,
        window_width=3600.0,
        window_function="SIGMOID" if laterality == "R" else "LINEAR",
    )
