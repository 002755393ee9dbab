"""What an image of one frame says in its functional groups counts as if it stood at the top."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from runtime.dicom.stored_image import open_image
from runtime.dicom_header.functional_groups import GROUPS
from runtime.image.header import FOR_PRESENTATION_CLASS, HeaderRefusedError
from runtime.image.reasons import Reason, Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import mammogram_dataset, write

BREAST_PROJECTION = "1.2.840.10008.5.1.4.1.1.13.1.4"


def item(**facts: object) -> Dataset:
    """A data set with these attributes."""
    ds = Dataset()
    for keyword, value in facts.items():
        setattr(ds, keyword, value)
    return ds


def macro(**facts: object) -> Sequence:
    """A macro is a sequence of one item."""
    return Sequence([item(**facts)])


def group() -> Dataset:
    """All that the display and the exam need (PS3.3 A.74: Breast Projection X-Ray)."""
    return item(
        FrameAnatomySequence=macro(FrameLaterality="L"),
        PixelMeasuresSequence=macro(PixelSpacing=[0.1, 0.1]),
        PatientOrientationInFrameSequence=macro(PatientOrientation=["A", "R"]),
        FrameVOILUTSequence=macro(
            WindowCenter=1400, WindowWidth=1800, VOILUTFunction="LINEAR_EXACT"
        ),
        PixelValueTransformationSequence=macro(RescaleSlope=2, RescaleIntercept=-100),
    )


def projection(place: str) -> Dataset:
    """Nothing at the top, all in the groups of `place`."""
    ds = mammogram_dataset(rows=300, columns=260, window=None)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = BREAST_PROJECTION
    for keyword in ("ImageLaterality", "ImagerPixelSpacing", "PatientOrientation"):
        del ds[keyword]
    setattr(ds, place, Sequence([group()]))
    return ds


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("place", GROUPS)
def test_shared_and_per_frame_groups_are_read_whole(place, syntax, tmp_path):
    """Side, orientation, spacing, window, rescale."""
    register_decoders()
    path = write(projection(place), tmp_path / "image", transfer_syntax=syntax)
    found = load_mammogram(open_image(path))
    assert found.header.view_code == "LCC"
    assert found.header.chest_wall_side == "left"
    assert found.pixel_spacing_mm == (0.1, 0.1)
    assert [(w.center, w.width, w.function) for w in found.windows] == [
        (1400, 1800, "LINEAR_EXACT")
    ]
    assert (found.rescale_slope, found.rescale_intercept) == (2, -100)
    assert Remark.WINDOW_MISSING not in found.remarks


def test_the_same_in_two_places_is_the_same(tmp_path):
    """Some writers repeat the window at the top."""
    ds = projection(GROUPS[0])
    ds.WindowCenter, ds.WindowWidth = "1400.0", "1800"
    open_image(write(ds, tmp_path / "image"))


@pytest.mark.parametrize("keyword", ["WindowWidth", "RescaleSlope"])
def test_two_places_that_contradict_each_other_are_refused(keyword, tmp_path):
    """Nobody knows which is right."""
    ds = projection(GROUPS[0])
    ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept = 1400, 1800, 2, -100
    setattr(ds, keyword, 3)
    with pytest.raises(HeaderRefusedError) as refused:
        open_image(write(ds, tmp_path / "image"))
    assert refused.value.reason is Reason.UNSUPPORTED_PIXELS
    assert keyword in refused.value.detail


def test_an_ordinary_image_stays_as_it_is(tmp_path):
    """No groups, nothing to lift."""
    path = write(mammogram_dataset(rows=300, columns=260), tmp_path / "image")
    assert open_image(path).header.sop_class_uid == FOR_PRESENTATION_CLASS
