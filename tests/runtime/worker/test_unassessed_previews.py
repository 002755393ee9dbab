"""Pictures of images that are not judged: made where the pixels can be decoded, and only then."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.package import load_package
from runtime.image.outcome import Job, JobImage, NotAssessed
from runtime.image.reasons import Reason
from runtime.worker.pipeline import Pipeline
from tests.support.builders import EXECUTION, MODEL
from tests.support.packages import build_package
from tests.support.synthetic import mammogram_dataset, write


class NoEngine:
    """Nothing here gets as far as an inference."""

    execution = EXECUTION

    def infer(self, tensors):
        raise AssertionError("an image that is not to be judged was judged")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """The manifests of a package for single views and of one for breasts."""
    folder = tmp_path_factory.mktemp("packages")
    found = {}
    for scope in ("view", "breast"):
        path = build_package(folder, scope=scope, name=f"of-{scope}")
        found[scope] = load_package(path, allow_unsigned=True).manifest
    return found


def pipeline(manifest, *, previews=True):
    return Pipeline(
        manifest=manifest, model=MODEL, engine=NoEngine(), max_pixels=1 << 20, previews=previews
    )


def outcome_of(manifest, path, **options):
    return pipeline(manifest, **options).judge_view(1, path)[0].outcome


def view(folder, **options):
    return write(mammogram_dataset(rows=512, columns=416, **options), folder / "a.dcm")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"implant": True}, Reason.IMPLANT),
        ({"modifiers": ("399163009",)}, Reason.UNSUPPORTED_MODIFIER),
        ({"quality_control": True}, Reason.QUALITY_CONTROL),
    ],
)
def test_an_image_that_the_header_rules_out_has_a_picture(manifests, tmp_path, options, reason):
    """Decoded for the picture alone; the outcome names the file beside the object, by its hash."""
    outcome = outcome_of(manifests["view"], view(tmp_path, **options))
    assert reason in outcome.reasons
    (picture,) = outcome.artefacts
    content = (tmp_path / "a.preview.jpg").read_bytes()
    assert (picture.kind, picture.sha256) == ("preview", hashlib.sha256(content).hexdigest())


def test_an_image_that_its_pixels_rule_out_has_a_picture(manifests, tmp_path):
    """Nothing on it: what there is can be seen."""
    import numpy as np

    outcome = outcome_of(
        manifests["view"], view(tmp_path, pixels=np.full((512, 416), 7, np.uint16))
    )
    assert isinstance(outcome, NotAssessed)
    assert [artefact.kind for artefact in outcome.artefacts] == ["preview"]


def test_an_image_that_cannot_be_decoded_has_none(manifests, tmp_path):
    """Pixels cut off: the reason stands alone, whatever else the header rules out."""
    for options in ({}, {"implant": True}):
        path = view(tmp_path, **options)
        path.write_bytes(path.read_bytes()[:-100_000])
        assert outcome_of(manifests["view"], path).artefacts == ()
        assert not (tmp_path / "a.preview.jpg").exists()


def test_nothing_is_decoded_where_nobody_wants_pictures(manifests, tmp_path):
    """Without a console an image that the header rules out costs no decoding."""
    path = view(tmp_path, implant=True)
    found, stages = pipeline(manifests["view"], previews=False).judge_view(1, path)
    assert found.outcome.artefacts == ()
    assert "decode" not in stages


def test_a_view_whose_companion_cannot_be_judged_has_a_picture(manifests, tmp_path):
    """Scope `breast`: the CC is fit and not judged, because the MLO has an implant."""
    for name, options in {"CC": {}, "MLO": {"implant": True}}.items():
        ds = mammogram_dataset(rows=512, columns=416, view=name, **options)
        write(ds, tmp_path / f"{name}.dcm")
    job = Job(
        job_id=1,
        package_sha256=MODEL.package_sha256,
        precision="fp32",
        images=tuple(
            JobImage(image_id=number, path=str(Path(tmp_path / f"{slot}.dcm")), slot=slot)
            for number, slot in enumerate(("CC", "MLO"), 1)
        ),
    )
    cc, mlo = pipeline(manifests["breast"]).judge_job(job).images
    assert cc.outcome.reasons == (Reason.COMPANION_NOT_ASSESSED,)
    assert mlo.outcome.reasons == (Reason.IMPLANT,)
    assert len(cc.outcome.artefacts) == len(mlo.outcome.artefacts) == 1
