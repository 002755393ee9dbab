"""A conversion recipe: what the engineer writes about a model, in TOML."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from converters.errors import BenchFaultError
from models.errors import sentences_of
from models.manifest import (
    Accepts,
    EvidencePort,
    Frozen,
    InputPort,
    Manifest,
    Name,
    OperatingPoint,
    OutputPort,
    Precision,
    Probability,
    Recipe,
    Scope,
    Source,
    Step,
)

if TYPE_CHECKING:
    from pathlib import Path

MAXIMUM_RECIPE_BYTES = 1024 * 1024


class Tolerances(Frozen):
    """How far a golden score may be off, by the precision that executed it."""

    f32: Probability = 0.002
    f16: Probability = 0.02
    bf16: Probability = 0.03
    int8: Probability = 0.03


class PackageRecipe(Frozen):
    """Everything about a package that the weights do not say themselves.

    The parts are the manifest's own: what is written here stands there.
    """

    name: Name
    version: str
    licence: str
    intended_use: str
    scope: Scope
    preparation: tuple[Step, ...] = Field(min_length=1)
    inputs: tuple[InputPort, ...] = Field(min_length=1)
    outputs: tuple[OutputPort, ...] = Field(min_length=1)
    evidence: EvidencePort | None = None
    accepts: Accepts = Accepts()
    exam_rule: Literal["mean_of_views_then_max_of_breasts", "max_view", "direct"]
    operating_points: tuple[OperatingPoint, ...] = Field(min_length=1)
    precisions: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = ("fp16", "int8")
    default_precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp16"
    architecture: Literal["cnn", "transformer"] = "cnn"
    golden_tolerance: Tolerances = Tolerances()

    def steps_for(self, port: InputPort) -> Recipe:
        """How the image for `port` is prepared, nothing folded."""
        return port.preparation or Recipe(steps=self.preparation)


def read_recipe(path: Path) -> PackageRecipe:
    """Read a recipe.

    Raises:
        BenchFaultError: with a sentence for every fault, each naming file and field.
    """
    try:
        if path.stat().st_size > MAXIMUM_RECIPE_BYTES:
            raise BenchFaultError([f"{path.name}: larger than {MAXIMUM_RECIPE_BYTES} bytes"])
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        recipe = PackageRecipe.model_validate(content)
        _refuse_what_no_manifest_holds(recipe)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise BenchFaultError([f"{path.name}: {fault}"]) from fault
    except ValidationError as fault:
        raise BenchFaultError(
            [f"{path.name}: {sentence}" for sentence in sentences_of(fault)]
        ) from fault
    return recipe


def _refuse_what_no_manifest_holds(recipe: PackageRecipe) -> None:
    """Two suspicion outputs, inputs that are not the scope's: before anything is converted.

    Raises:
        ValidationError: as the manifest itself would.
    """
    shared = set(PackageRecipe.model_fields) & set(Manifest.model_fields) - {"precisions"}
    Manifest.model_validate(
        {name: getattr(recipe, name) for name in shared}
        | {
            "created_at": datetime.now(UTC),
            "preparation": Recipe(steps=recipe.preparation),
            "precisions": {
                name: Precision(xml=f"{name}.xml", bin=f"{name}.bin", golden_tolerance={})
                for name in recipe.precisions
            },
            "source": Source(file="", sha256="0" * 64, framework="", licence=recipe.licence),
        }
    )
