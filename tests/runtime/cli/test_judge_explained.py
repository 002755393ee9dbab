"""`mammoedge judge --explain` and `--picture`: what was read from where, and what became of it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSNearLossless

from runtime.cli.code_words import REMARK_WORDS
from runtime.cli.main import main
from runtime.dicom.stored_image import IMAGE_TAGS
from runtime.image.reasons import Remark
from tests.docs.pages import page
from tests.support.synthetic import mammogram_dataset, write

SIZE = {"rows": 600, "columns": 500}
NAME = "DOE^JANE"


def explained(capsys, *files, options=()):
    """The JSON lines of `judge --json --explain`."""
    assert main(["judge", "--json", "--explain", *options, *map(str, files)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def rows(line):
    return {(row["about"], row["source"], row["said"], row["use"]) for row in line["explained"]}


def saved(ds, tmp_path, name="image.dcm", syntax="1.2.840.10008.1.2.1"):
    return write(ds, tmp_path / name, transfer_syntax=syntax)


def table(entries, bits, count=None):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count or len(entries), 0, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def test_a_plain_view_tells_where_each_fact_was_read(tmp_path, capsys):
    """Kind, view and side by all witnesses, spacing, pixels, window, polarity, check, score."""
    ds = mammogram_dataset(**SIZE)
    ds.PixelSpacing = [1, 1]
    (line,) = explained(capsys, saved(ds, tmp_path))
    assert rows(line) >= {
        ("image type", "ImageType", "ORIGINAL\\PRIMARY", "used"),
        ("view", "ViewCodeSequence", "CC", "used"),
        ("view", "ViewPosition", "CC", "agrees"),
        ("side", "ImageLaterality", "L", "used"),
        ("side", "PatientOrientation", "L", "agrees"),
        ("spacing", "ImagerPixelSpacing", "0.1 x 0.1 mm (6.0 x 5.0 cm)", "used"),
        ("spacing", "PixelSpacing", "1 x 1 mm", "passed over"),
        (
            "pixels",
            "Image Pixel module",
            "600 x 500, 12 of 16 bits, high bit 11, unsigned",
            "used",
        ),
        ("window", "WindowCenter", "center 2048, width 4096, LINEAR", "used"),
        ("polarity", "PhotometricInterpretation", "MONOCHROME2", "used"),
        ("polarity", "PresentationLUTShape", "IDENTITY", "agrees"),
        ("display", "recipe: window voi_lut", "by window", "used"),
        ("display", "all of the above", "high stored values display bright", "used"),
        ("breast", "pixels", "chest wall at the left, certain", "used"),
    }
    checks = [row["use"] for row in line["explained"] if row["about"] == "check"]
    assert checks == ["kept"] * 3
    assert f"{line['score']:.3f}" in {row["said"] for row in line["explained"]}


def test_a_table_goes_before_a_window_and_alternatives_are_passed_over(tmp_path, capsys):
    """By the bits that show the breast; with the words of the remark."""
    ramp = np.arange(4096) >> 2
    ds = mammogram_dataset(**SIZE)
    ds.VOILUTSequence = Sequence([table(ramp, 16), table(ramp, 16)])
    (line,) = explained(capsys, saved(ds, tmp_path, syntax=JPEGLSNearLossless))
    assert rows(line) >= {
        ("VOI LUT", "VOILUTSequence", "0 to 4095, 16 bits, 10 used", "used"),
        ("VOI LUT", "VOILUTSequence", "1 more", "passed over"),
        ("VOI LUT", "pixels", "shown by 10 bits", "used"),
        ("window", "WindowCenter", "center 2048, width 4096, LINEAR", "passed over"),
        ("pixels", "codestream", "600 x 500, 16 bits, sign not told, lossy", "used"),
        ("display", "recipe: window voi_lut", "by VOI LUT", "used"),
    }
    assert line["remarks"] == ["lossy_compression", "voi_lut_bits"]
    assert line["words"] == {code: REMARK_WORDS[code] for code in line["remarks"]}


def test_an_unusable_table_says_what_is_wrong_with_it(tmp_path, capsys):
    """And the window beside it is what was used."""
    ds = mammogram_dataset(**SIZE)
    ds.VOILUTSequence = Sequence([table(np.arange(4000), 12, count=4096)])
    (line,) = explained(capsys, saved(ds, tmp_path))
    (told,) = [row for row in line["explained"] if row["about"] == "VOI LUT"]
    assert told["why"] == "not the 4096 entries that are announced"
    assert told["remark"] == "voi_lut_unusable"
    assert ("display", "recipe: window voi_lut", "by window", "used") in rows(line)


def test_functional_groups_are_named_as_the_place(tmp_path, capsys):
    """Frame VOI LUT and pixel measures of the shared groups."""
    ds = mammogram_dataset(window=None, pixel_spacing_mm=None, **SIZE)
    group, voi, measures = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 2000, 4000
    measures.PixelSpacing = [0.1, 0.1]
    group.FrameVOILUTSequence = Sequence([voi])
    group.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([group])
    (line,) = explained(capsys, saved(ds, tmp_path))
    places = {row["about"]: row["source"] for row in line["explained"]}
    assert places["window"] == "FrameVOILUTSequence/WindowCenter"
    assert places["spacing"] == "PixelMeasuresSequence"


def test_what_is_refused_is_explained_as_far_as_it_got(tmp_path, capsys):
    """By its header (its pixels are looked at all the same), its codestream, or not readable."""
    contradicts = mammogram_dataset(laterality="R", **SIZE)
    contradicts.ImageLaterality = "L"
    broken = saved(mammogram_dataset(**SIZE), tmp_path, "broken.dcm", JPEG2000Lossless)
    content = broken.read_bytes()
    broken.write_bytes(content.replace(b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x50"))
    nothing = tmp_path / "text.dcm"
    nothing.write_text("no DICOM")
    side, codestream, text = explained(
        capsys, saved(contradicts, tmp_path, "side.dcm"), broken, nothing
    )
    assert side["reasons"] == ["laterality_contradicts"]
    assert ("side", "PatientOrientation", "R", "contradicts") in rows(side)
    assert ("breast", "pixels", "chest wall at the right, certain", "used") in rows(side)
    assert side["words"]["laterality_contradicts"].startswith(
        "elements, letters of Patient Orientation"
    )
    assert codestream["reasons"] == ["undecodable"]
    assert ("pixels", "PixelData", "cannot be had", "missing") in rows(codestream)
    assert ("side", "ImageLaterality", "L", "used") in rows(codestream)
    assert text["reasons"] == ["unreadable"]
    assert [row["about"] for row in text["explained"]] == ["detail"]


def test_a_term_of_image_type_is_released_as_by_the_units_setting(tmp_path, capsys):
    """Without `--accept-image-type` it is not assessed, and named."""
    ds = mammogram_dataset(**SIZE)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "PHOTON_COUNTED"]
    file = saved(ds, tmp_path)
    (refused,) = explained(capsys, file)
    assert refused["reasons"] == ["unsupported_image_type"]
    assert refused["detail"] == "Image Type value 3 PHOTON_COUNTED"
    (judged,) = explained(capsys, file, options=["--accept-image-type", "PHOTON_COUNTED"])
    assert judged["outcome"] == "judged"
    with pytest.raises(SystemExit):
        main(["judge", "--accept-image-type", "no term", str(file)])
    assert "must be 1 to 16 of A-Z, 0-9 and _" in capsys.readouterr().err


def test_the_table_for_people_has_each_word_once_in_its_line(tmp_path, capsys):
    """The same facts as the JSON form, under the line that `judge` prints without it."""
    file = saved(mammogram_dataset(window=None, **SIZE), tmp_path)
    assert main(["judge", "--explain", str(file)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.endswith(str(file))
    assert " ".join(lines[0].split()) == (
        "class Digital Mammography X-Ray Image Storage - For Presentation SOPClassUID used"
    )
    assert "    window_missing  neither VOI LUT nor window: shown as stored" in lines


def test_no_identity_is_printed_whatever_field_it_stands_in(tmp_path, capsys):
    """A name in every text element that is read, and in those that are not."""
    ds = mammogram_dataset(**SIZE)
    kept = {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PhotometricInterpretation"}
    for keyword in {keyword_for_tag(tag) for tag in IMAGE_TAGS} - kept:
        if dictionary_VR(keyword) in ("CS", "LO", "SH", "LT", "ST", "PN", "UC", "UT"):
            setattr(ds, keyword, NAME)
    ds.ImageType = ["ORIGINAL", "PRIMARY", NAME]
    ds.PatientName, ds.PatientID = NAME, NAME
    ds.SeriesDescription = f"{NAME} L CC"
    for options in (["--explain"], ["--explain", "--json"]):
        assert main(["judge", *options, str(saved(ds, tmp_path))]) == 0
        said = capsys.readouterr()
        assert "view" in said.out
        assert "DOE" not in (said.out + said.err).upper()
        assert "JANE" not in (said.out + said.err).upper()


def test_the_picture_is_what_the_model_sees_with_the_breast_outlined(tmp_path, capsys):
    """Window and inversion applied: air black though it is stored white; a coloured outline."""
    file = saved(mammogram_dataset(monochrome1=True, **SIZE), tmp_path)
    target = tmp_path / "picture.png"
    assert main(["judge", "--picture", str(target), str(file)]) == 0
    picture = cv2.imread(str(target))
    assert picture.shape == (640, 533, 3)
    assert picture[5, -5].max() < 10
    assert 80 < picture[320, 60].min() < 200
    coloured = np.ptp(picture.astype(int), axis=2) > 100
    assert 500 < coloured.sum() < 5000
    assert "no picture" not in capsys.readouterr().err


def test_each_of_several_files_has_its_picture_where_there_are_pixels(tmp_path, capsys):
    """Numbered as they were given; one that has none is named, and the others go on."""
    good = saved(mammogram_dataset(**SIZE), tmp_path)
    refused = saved(mammogram_dataset(implant=True, **SIZE), tmp_path, "implant.dcm")
    bad = tmp_path / "text.dcm"
    bad.write_text("no DICOM")
    pictures = ["--picture", str(tmp_path / "out.png")]
    assert main(["judge", *pictures, str(good), str(bad), str(refused)]) == 0
    assert {file.name for file in tmp_path.glob("*.png")} == {"out-1.png", "out-3.png"}
    assert "text.dcm: no picture" in capsys.readouterr().err


@pytest.mark.parametrize("remark", Remark)
def test_every_remark_has_words_and_those_are_the_pages(remark):
    """`judge --explain` and the page on troubles say the same."""
    assert f"| `{remark}` | {REMARK_WORDS[remark]} |" in page("docs/troubleshooting.md").text


def test_a_picture_without_a_place_is_said_before_anything_is_judged(tmp_path, capsys):
    """Exit code 2; the files are not read for nothing."""
    nowhere = tmp_path / "nowhere" / "picture.png"
    good = saved(mammogram_dataset(**SIZE), tmp_path)
    assert main(["judge", "--picture", str(nowhere), str(good)]) == 2
    said = capsys.readouterr()
    assert (said.out, "nowhere" in said.err) == ("", True)
