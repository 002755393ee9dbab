"""The manifest: what it refuses, and that it is its own schema."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from models.manifest import Manifest


def minimal() -> dict[str, object]:
    """The smallest manifest that is accepted."""
    return {
        "name": "tiny",
        "version": "1.0.0",
        "created_at": "2026-01-01T00:00:00Z",
        "source": {"file": "a.onnx", "sha256": "0" * 64, "framework": "onnx", "licence": "MIT"},
        "intended_use": "Tests.",
        "scope": "view",
        "preparation": {"steps": [{"step": "channels"}]},
        "inputs": [{"tensor": "view", "shape": [1, 1, 8, 8]}],
        "outputs": [{"tensor": "score", "score": "suspicion", "suspicion": True}],
        "precisions": {
            "fp32": {"xml": "fp32.xml", "bin": "fp32.bin", "golden_tolerance": {"f32": 0.001}}
        },
        "exam_rule": "max_view",
        "operating_points": [{"name": "balanced", "threshold": 0.5}],
    }


def with_change(**changes: object) -> dict[str, object]:
    """The minimal manifest with some keys replaced."""
    return minimal() | changes


def test_the_minimal_manifest_is_accepted() -> None:
    """What the other tests break is whole to begin with."""
    assert Manifest.model_validate(minimal()).label == "tiny-1.0.0"


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"surprise": 1}, "surprise"),
        ({"schema_version": 2}, "schema_version"),
        ({"name": "../up"}, "name"),
        ({"version": "1"}, "version"),
        ({"preparation": {"steps": [{"step": "sharpen"}]}}, "sharpen"),
        ({"preparation": {"steps": []}}, "steps"),
        ({"outputs": [{"tensor": "a", "score": "a"}]}, "suspicion"),
        (
            {
                "outputs": [
                    {"tensor": "a", "score": "a", "suspicion": True},
                    {"tensor": "b", "score": "b", "suspicion": True},
                ]
            },
            "suspicion",
        ),
        ({"scope": "exam"}, "scope exam"),
        ({"operating_points": [{"name": "a", "threshold": 1.5}]}, "threshold"),
        (
            {
                "operating_points": [
                    {"name": "a", "threshold": 0.5},
                    {"name": "a", "threshold": 0.6},
                ]
            },
            "same name",
        ),
    ],
)
def test_a_faulty_manifest_is_refused_and_the_field_is_named(
    changes: dict[str, object], telling: str
) -> None:
    """Unknown keys, wrong figures and parts that contradict each other are all refused."""
    with pytest.raises(ValidationError, match=telling):
        Manifest.model_validate(with_change(**changes))


@pytest.mark.parametrize(
    "step",
    [
        {"step": "resize", "mode": "spacing_mm", "height": 8, "width": 8},
        {"step": "resize", "mode": "squeeze", "height": 8, "width": 8, "spacing_mm": 0.1},
        {"step": "crop", "mode": "best_center_window", "height": 8},
        {"step": "normalise", "mode": "local"},
        {"step": "normalise", "mode": "fixed"},
        {"step": "normalise", "mode": "fixed", "mean": [0.0, 1.0], "std": [1.0]},
        {"step": "normalise", "mode": "fixed", "mean": [0.0], "std": [0.0]},
    ],
)
def test_a_step_without_its_figures_is_refused(step: dict[str, object]) -> None:
    """A recipe fails when it is read, not when the first image comes."""
    with pytest.raises(ValidationError):
        Manifest.model_validate(with_change(preparation={"steps": [step]}))


def test_a_manifest_survives_its_own_json() -> None:
    """What is written is what is read."""
    manifest = Manifest.model_validate(minimal())
    assert Manifest.model_validate_json(manifest.model_dump_json(exclude_none=True)) == manifest


def test_the_json_schema_is_closed_to_unknown_keys() -> None:
    """Other people's tools refuse what we refuse."""
    schema = json.loads(json.dumps(Manifest.model_json_schema()))
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts if "properties" in part)


def test_the_runtime_stops_where_the_graph_goes_on() -> None:
    """Steps from `folded_from` on are not executed twice."""
    manifest = Manifest.model_validate(
        with_change(
            preparation={
                "steps": [{"step": "window", "mode": "minmax"}, {"step": "channels", "count": 3}],
                "folded_from": 1,
            }
        )
    )
    assert [step.step for step in manifest.preparation.runtime_steps] == ["window"]
