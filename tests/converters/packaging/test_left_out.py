"""A precision that labelled images refuse is left out; the others are packaged all the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from converters.commands.build_stages import Int8Graph, Stages
from converters.errors import BenchFaultError
from converters.evaluation.proof import Proof
from converters.importing.ir_files import save_ir
from converters.labelled.labels import Labels
from converters.packaging.assembly import PackageRequest, package
from converters.packaging.phantom import Phantom
from tests.support.packages import graph_of, package_request, recipe_of

if TYPE_CHECKING:
    from converters.quantization.calibration import CalibrationSet
    from models.package import Package

EACH = 12
THRESHOLD = 0.2


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Twelve bright views and twelve dark ones."""
    folder = tmp_path_factory.mktemp("views")
    rows = ["file,laterality,view,label,pixel_spacing_mm"]
    for number in range(2 * EACH):
        gray = 0.9 if number < EACH else 0.45
        pixels = Phantom(seed=number, lesion=False, bits_stored=8).pixels() * gray
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels.astype(np.uint8))
        label = "malignant" if number < EACH else "normal"
        rows.append(f"{number}.png,L,{('CC', 'MLO')[number % 2]},{label},0.25")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return Labels.from_csv(folder, folder / "labels.csv")


def order(labels: Labels, int8: Path, precisions: tuple[str, ...]) -> PackageRequest:
    """A package whose score is the brightness, and an INT8 graph that was made elsewhere."""
    recipe = recipe_of(precisions=precisions, threshold=THRESHOLD)
    graph = graph_of("view", "brightness")
    return package_request(recipe, graph, proof=Proof(labels=labels), ready={"int8": int8})


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 graph that flags nothing any more."""
    folder = tmp_path_factory.mktemp("int8")
    save_ir(graph_of("view", 0.05), folder, "int8")
    return folder / "int8.xml"


def test_an_int8_that_loses_every_cancer_is_left_out(
    labels: Labels, blind: Path, tmp_path: Path
) -> None:
    """FP32 is packaged; the reason stands in manifest and card, and with it what was tried."""
    asked = replace(order(labels, blind, ("fp32", "int8")), tried=("one way", "another way"))
    made = package(asked, tmp_path / "out")
    assert list(made.manifest.precisions) == ["fp32"]
    assert not list(made.folder.glob("int8.*"))
    why = made.manifest.left_out["int8"]
    assert any("12 of 12 positives lose the flag" in told for told in why)
    assert why[-1] == "int8 was tried one way, another way"
    assert made.manifest.advice == {}  # FP32 holds, but twelve positives are no proof
    assert made.manifest.parity[0].because[0].startswith("fp32: 12 positives and 12 others")
    assert "Left out: int8 at balanced" in (made.folder / "CARD.md").read_text()
    assert "12 of 12 positives lose the flag" in (made.folder / "report.html").read_text()


def test_where_int8_is_all_there_is_nothing_is_made(
    labels: Labels, blind: Path, tmp_path: Path
) -> None:
    """And the fault says why."""
    with pytest.raises(BenchFaultError, match="12 of 12 positives lose the flag"):
        package(order(labels, blind, ("int8",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True, kw_only=True)
class Rehearsal(Stages):
    """Stages of which only the order is of interest: INT8 holds by the method called so."""

    holds_by: str = ""
    cannot: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def quantised(self, calibration: CalibrationSet, method: Any) -> Int8Graph:
        """Made or refused."""
        del calibration
        why = ("NNCF cannot",) if method.name in self.cannot else ()
        return Int8Graph(xml=Path("int8.xml"), refused=why)

    def packaged(self, labels: Any, calibration: Any, graph: Any, tried: tuple[str, ...]) -> Any:
        """A package with INT8 or without."""
        del labels, calibration
        self.asked.append(tried[-1])
        holds = not graph.refused and self.holds_by in {tried[-1], ""}
        precisions = {"fp16": None, **({"int8": None} if holds else {})}
        return SimpleNamespace(manifest=SimpleNamespace(precisions=precisions))


def rehearsed(*, minutes: float = 60.0, **how: Any) -> tuple[list[str], Package]:
    """The methods that were packaged, and the package that is kept."""
    stages = Rehearsal(
        arguments=SimpleNamespace(target_cpu="any", mend_minutes=minutes, int8=None),  # type: ignore[arg-type]
        bench=None,  # type: ignore[arg-type] - nothing is kept
        recipe=recipe_of(precisions=("fp16", "int8")),
        model=None,  # type: ignore[arg-type] - nothing is quantised
        **how,
    )
    first = stages.quantised(None, stages.methods()[0])  # type: ignore[arg-type]
    kept = stages.mended(SimpleNamespace(), None, first)  # type: ignore[arg-type]
    return stages.asked, kept


def test_int8_is_mended_in_order_until_it_holds() -> None:
    """What holds first is kept; what NNCF cannot do is passed over."""
    assert rehearsed()[0] == ["as the recipe says"]
    asked, kept = rehearsed(holds_by="SmoothQuant", cannot=("NNCF's transformer scheme",))
    assert (asked[0], asked[1], asked[-1]) == (
        "as the recipe says",
        "one scale for each channel",
        "SmoothQuant",
    )
    assert "int8" in kept.manifest.precisions


def test_where_nothing_mends_int8_the_rest_is_packaged() -> None:
    """After the last method, or when the time for it is over."""
    asked, kept = rehearsed(holds_by="nothing")
    assert asked[-1] == "SmoothQuant"
    assert "int8" not in kept.manifest.precisions
    assert rehearsed(holds_by="nothing", minutes=0.0)[0] == ["as the recipe says"]
