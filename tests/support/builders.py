"""Small builders of the types that travel, for tests that need no pixels."""

from __future__ import annotations

from models.manifest import Manifest
from runtime.exam_rules.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.image.header import ImageHeader, Laterality, PresentationIntent, View
from runtime.image.outcome import Execution, Flag, ModelRef, NotAssessed, ViewResult
from runtime.image.reasons import Reason

MODEL = ModelRef(
    name="test",
    version="1.0.0",
    package_sha256="a" * 64,
    operating_point="balanced",
    threshold=0.5,
    precision="fp32",
)
EXECUTION = Execution(requested_device="CPU", actual_device="CPU", executed_precision="f32")


def result(score: float) -> ViewResult:
    """A judged image with that score at a threshold of 0.5."""
    flag = Flag.PRIORITY if score >= MODEL.threshold else Flag.NONE
    return ViewResult(score=score, flag=flag, model=MODEL, execution=EXECUTION)


def unassessed(*reasons: Reason) -> NotAssessed:
    """An image that was not judged."""
    return NotAssessed(reasons=reasons or (Reason.UNDECODABLE,), model=MODEL)


def image(view_code, outcome, *, role=Role.EXPECTED, image_id=1, superseded_by=None) -> ExamImage:
    """One image of an exam."""
    return ExamImage(
        image_id=image_id,
        sop_instance_uid=f"1.2.{image_id}",
        view_code=view_code,
        role=role,
        outcome=outcome,
        received_at_ms=1000,
        superseded_by=superseded_by,
    )


def header(view_code="RCC", *, study="1.2.3", sop="1.2.3.1", **changes) -> ImageHeader:
    """A clean For Presentation header."""
    facts = {
        "sop_instance_uid": sop,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.2",
        "study_instance_uid": study,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "modality": "MG",
        "laterality": None if view_code[0] == "?" else Laterality(view_code[0]),
        "laterality_source": "ImageLaterality",
        "view": None if view_code[1:] == "?" else View(view_code[1:]),
        "view_source": "ViewCodeSequence",
        "modifiers": (),
        "intent": PresentationIntent.FOR_PRESENTATION,
        "intent_source": "PresentationIntentType",
        "implant": False,
        "implant_displaced": False,
        "partial_view": None,
        "tomosynthesis": False,
        "quality_control": False,
        "film": False,
        "manufacturer": "TEST",
        "rows": 1000,
        "columns": 800,
        "frames": 1,
        "pixel_spacing_mm": (0.1, 0.1),
        "acquired_at": "20260101120000",
    }
    return ImageHeader(**(facts | changes))


def manifest(scope="view", rule="max_view") -> Manifest:
    """A manifest without files, for rules that only read it."""
    views = {"view": ["any"], "breast": ["CC", "MLO"], "exam": ["RCC", "LCC", "RMLO", "LMLO"]}
    return Manifest.model_validate(
        {
            "name": "test",
            "version": "1.0.0",
            "created_at": "2026-01-01T00:00:00Z",
            "source": {
                "file": "a.onnx",
                "sha256": "b" * 64,
                "framework": "onnx",
                "licence": "Apache-2.0",
            },
            "intended_use": "tests",
            "scope": scope,
            "preparation": {"steps": [{"step": "channels"}]},
            "inputs": [
                {"tensor": f"in_{view}", "view": view, "shape": [1, 1, 8, 8]}
                for view in views[scope]
            ],
            "outputs": [{"tensor": "out", "score": "suspicion", "suspicion": True}],
            "precisions": {
                "fp32": {"xml": "a.xml", "bin": "a.bin", "golden_tolerance": {"f32": 1e-4}}
            },
            "exam_rule": rule,
            "operating_points": [{"name": "balanced", "threshold": 0.5}],
        }
    )


def exam_flag(images=None, **changes) -> ExamFlag:
    """A final flag of two views."""
    images = images or (
        image("LMLO", unassessed(), image_id=2, role=Role.ADDITIONAL),
        image("RCC", result(0.75), image_id=1),
    )
    facts = {
        "study_instance_uid": "1.2.840.99.7",
        "revision": 2,
        "final": True,
        "completed_by": Completion.EXPECTED_VIEWS,
        "flag": Flag.PRIORITY,
        "score": 0.75,
        "reasons": (),
        "missing_views": (),
        "images": tuple(images),
        "decided_at_ms": 1_795_359_845_678,
        "model": MODEL,
        "execution": EXECUTION,
    }
    return ExamFlag(**(facts | changes))


def forget_exams(tx, at_ms: int) -> int:
    """What retention does with exams of before `at_ms`: their files first, then their records."""
    for image_id, _path in tx.spooled_before(at_ms):
        tx.file_removed(image_id)
    return tx.forget_exams_before(at_ms)
