"""The page of `mammoedge reference recipe`."""

from __future__ import annotations

from typing import get_args

from converters.importing.recipe import PackageRecipe
from models.preparation_recipe import Step
from runtime.user_input.reference_page import Part, reference_page


def recipe_parts() -> list[Part]:
    """What a recipe says of a package, then the steps of a preparation."""
    steps = get_args(get_args(Step)[0])
    return [
        Part(heading="recipe.toml", model=PackageRecipe),
        *(
            Part(heading=f"Step `{step.model_fields['step'].default}`", model=step)
            for step in steps
        ),
    ]


def recipe() -> str:
    """The page on recipes."""
    return reference_page(
        "Recipe",
        "What an engineer writes about a model, in TOML: everything that the weights do not say"
        " themselves. Each entry of `preparation` is one of the steps below, in their order.",
        recipe_parts(),
    )
