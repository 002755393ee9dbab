"""A conversion recipe: what the engineer writes about a model, in TOML."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from converters.errors import BenchFaultError
from converters.importing.recipe_checks import Place, line_of, misfits
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
    PackageRole,
    Precision,
    Probability,
    Recipe,
    Scope,
    Source,
    Step,
)

SHIPPED = Path(__file__).parents[1] / "recipes"
MAXIMUM_RECIPE_BYTES = 1024 * 1024


class Tolerances(Frozen):
    """How far a golden score may be off, by the precision that executed it."""

    f32: Probability = Field(default=0.002, description="how far off")
    f16: Probability = Field(default=0.02, description="how far off")
    bf16: Probability = Field(default=0.03, description="how far off")
    int8: Probability = Field(default=0.03, description="how far off")


class PackageRecipe(Frozen):
    """Everything about a package that the weights do not say themselves.

    The parts are the manifest's own: what is written here stands there.
    """

    name: Name = Field(description="of the package")
    version: str = Field(description="semantic version of the package")
    licence: str = Field(description="of the weights")
    intended_use: str = Field(description="one sentence; stands in the manifest")
    role: PackageRole = Field(
        default=PackageRole.TRIAGE, description="what it is for; only `triage` flags exams"
    )
    scope: Scope = Field(description="what one inference sees")
    preparation: tuple[Step, ...] = Field(
        min_length=1, description="steps from an image to the model's input, in their order"
    )
    inputs: tuple[InputPort, ...] = Field(
        min_length=1, description="one for each view of the scope"
    )
    outputs: tuple[OutputPort, ...] = Field(
        min_length=1,
        description="scores; in the role `triage` exactly one (or one for each laterality) is the"
        " suspicion, in every other none",
    )
    evidence: EvidencePort | None = Field(
        default=None, description="an evidence map, if the graph has one"
    )
    accepts: Accepts = Field(default=Accepts(), description="what the model was made for")
    exam_rule: Literal["mean_of_views_then_max_of_breasts", "max_view", "direct"] = Field(
        description="how scores of views become the exam's"
    )
    operating_points: tuple[OperatingPoint, ...] = Field(
        default=(),
        description="thresholds by name; `build` fills in what it measured. In the role `triage`"
        " one at least, in every other none",
    )
    precisions: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = Field(
        default=("fp16", "int8"), description="which the package gets"
    )
    default_precision: Literal["fp32", "fp16", "bf16", "int8"] = Field(
        default="fp16", description="what is recommended and proved first"
    )
    architecture: Literal["cnn", "transformer"] = Field(
        default="cnn", description="which preset of quantisation is used"
    )
    golden_tolerance: Tolerances = Field(
        default=Tolerances(), description="how far a golden score may be off, by executed precision"
    )

    def steps_for(self, port: InputPort) -> Recipe:
        """How the image for `port` is prepared, nothing folded."""
        return port.preparation or Recipe(steps=self.preparation)


def read_recipe(path: Path) -> PackageRecipe:
    """Read a recipe: a file, or by its name one that ships, as `nyu`.

    Raises:
        BenchFaultError: with a sentence for every fault, each naming file and field.
    """
    shipped = SHIPPED / f"{path}.toml"
    if not path.exists() and len(path.parts) == 1 and shipped.is_file():
        path = shipped
    try:
        if path.stat().st_size > MAXIMUM_RECIPE_BYTES:
            raise BenchFaultError([f"{path.name}: larger than {MAXIMUM_RECIPE_BYTES} bytes"])
        text = path.read_text(encoding="utf-8")
        recipe = PackageRecipe.model_validate(tomllib.loads(text))
        _refuse_what_no_manifest_holds(recipe)
    except FileNotFoundError as fault:
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        told = f"no such file, and no recipe that ships ({names})"
        raise BenchFaultError([f"{path.name}: {told}"]) from fault
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise BenchFaultError([f"{path.name}: {fault}"]) from fault
    except ValidationError as fault:
        places = [error["loc"] for error in fault.errors(include_url=False)]
        faults = list(zip(places, sentences_of(fault), strict=True))
        raise BenchFaultError([_told(path, text, *one) for one in faults]) from fault
    ports = [(port, recipe.steps_for(port)) for port in recipe.inputs]
    found = misfits(ports, recipe.precisions, recipe.default_precision)
    faults = [(at, f"{'.'.join(map(str, at))}: {told}") for at, told in found]
    if faults:
        raise BenchFaultError([_told(path, text, *one) for one in faults])
    return recipe


def _told(path: Path, text: str, place: Place, sentence: str) -> str:
    """A fault with its file and, where it is found, its line."""
    line = line_of(text, place)
    return f"{path.name}: {sentence}" + ("" if line is None else f" (line {line})")


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
