"""Only a package of the role triage flags: no way leads from another role to a flag."""

from __future__ import annotations

import ast
import math
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import InternalError, PackageRefusedError
from models.manifest import Manifest
from models.package import Package
from models.package_role import PackageRole
from runtime.image.outcome import Finding, ImageFinding, Job, JobImage, NotAssessed, ViewResult
from runtime.image.prediction import Prediction
from runtime.unit.active_model import model_ref
from runtime.worker.pipeline import Pipeline
from tests.conftest import ROOT
from tests.models.test_manifest import with_change
from tests.support.builders import EXECUTION, MODEL
from tests.support.synthetic import mammogram_dataset, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES = ("suspicion", "malignant", "density_a", "density_d", "risk_1_year", "positioning")
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {
            "tensor": st.just("score"),
            "score": st.sampled_from(NAMES),
            "suspicion": st.booleans(),
            "laterality": st.sampled_from((None, "R", "L")),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda output: output["score"],
)
POINTS = st.sampled_from(([], [{"name": "balanced", "threshold": 0.0}]))
MAKES_FLAGS = {"runtime/exam_rules/triage_rules.py", "runtime/site/simulation/simulated_units.py"}
"""The rules, and the invented units of a simulated site."""


class Oracle:
    """An engine whose every score is one number."""

    execution = EXECUTION

    def __init__(self, manifest: Manifest, score: float) -> None:
        self._scores = {output.score: score for output in manifest.outputs}

    def infer(self, tensors: Mapping[str, object]) -> Prediction:
        """The same, whatever it sees."""
        del tensors
        return Prediction(scores=dict(self._scores), execution=EXECUTION)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that is judged."""
    ds = mammogram_dataset(rows=600, columns=500)
    return write(ds, tmp_path_factory.mktemp("view") / "view.dcm")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    role=st.sampled_from(PackageRole),
    outputs=OUTPUTS,
    points=POINTS,
    score=st.floats(0, 1),
)
def test_no_other_role_reaches_a_flag(
    view: Path,
    role: PackageRole,
    outputs: list[dict[str, object]],
    points: list[dict[str, object]],
    score: float,
) -> None:
    """Whatever its manifest says and its network answers, with a stolen threshold even."""
    said = with_change(
        role=role,
        outputs=outputs,
        operating_points=points,
        preparation={
            "steps": [
                {"step": "resize", "mode": "squeeze", "height": 8, "width": 8},
                {"step": "channels"},
            ]
        },
    )
    try:
        manifest = Manifest.model_validate(said)
    except ValidationError:
        return
    pipeline = Pipeline(
        manifest=manifest, model=MODEL, engine=Oracle(manifest, score), max_pixels=1 << 24
    )
    job = Job(
        job_id=1,
        package_sha256="",
        precision="fp32",
        images=(JobImage(image_id=1, path=str(view), slot="any"),),
    )
    if role is PackageRole.TRIAGE:
        assert isinstance(pipeline.judge_job(job).images[0].outcome, ViewResult)
        return
    package = Package(manifest=manifest, folder=view.parent, sha256="0" * 64, signed_by=None)
    assert manifest.triage is None
    with pytest.raises(PackageRefusedError, match=f"role: {role}"):
        model_ref(package, precision="fp32", operating_point="balanced")
    with pytest.raises(InternalError, match="no flag"):
        pipeline.judge_job(job)
    with pytest.raises(InternalError, match="no flag"):
        pipeline.judge_view(1, view)
    found, _ = pipeline.find_view(view)
    assert isinstance(found.outcome, Finding)
    assert found.outcome.role is role
    assert all(math.isclose(told, score) for told in found.outcome.outputs.values())


@pytest.mark.parametrize("kind", [Finding, ImageFinding, NotAssessed])
def test_what_is_found_has_no_place_for_a_flag(kind: type) -> None:
    """No flag, no suspicion, no threshold: a type that no rule of exams takes."""
    assert not {"flag", "score", "threshold"} & {field.name for field in fields(kind)}


def test_one_place_makes_the_flag_of_a_view() -> None:
    """`judge`, which needs a `Triage`; and `Triage` is made of a manifest alone."""
    made: dict[str, set[str]] = {"ViewResult": set(), "Triage": set()}
    for path in sorted(ROOT.joinpath("runtime").rglob("*.py")) + sorted(
        ROOT.joinpath("models").glob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                made.get(node.func.id, set()).add(path.relative_to(ROOT).as_posix())
    assert made == {"ViewResult": MAKES_FLAGS, "Triage": {"models/manifest.py"}}
