"""Facts come from wherever real files carry them, and a hostile file costs next to nothing."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import struct
import tracemalloc
import warnings
import zlib
from dataclasses import asdict

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from runtime.dicom.header_reader import HEADER_TAGS, header_from, read_image_header
from runtime.dicom.part10_reader import ReadingLimits, read_dicom_file
from runtime.image.header import HeaderRefusedError, Laterality, PresentationIntent, View
from runtime.image.reasons import Reason
from tests.support.synthetic import NATIVE_SYNTAXES, code, mammogram_dataset, write

SMALL = {"rows": 64, "columns": 48}


def edited(**changes):
    """A small valid mammogram with attributes replaced, or removed where the value is None."""
    ds = mammogram_dataset(**SMALL)
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def viewed(value: str, scheme: str, modifier: tuple[str, str] | None = None) -> Dataset:
    ds = edited(ViewPosition=None, ViewCodeSequence=None)
    item = code(value, "view", scheme)
    if modifier:
        item.ViewModifierCodeSequence = Sequence([code(modifier[0], "modifier", modifier[1])])
    ds.ViewCodeSequence = Sequence([item])
    return ds


@pytest.mark.parametrize(
    ("value", "scheme", "view"),
    [
        ("399162004", "SCT", View.CC),
        ("R-10242", "SRT", View.CC),
        ("R-10226", "SNM3", View.MLO),
        ("399260004", "SCT", View.ML),
        ("R-10228", "SRT", View.LM),
        ("R-1024A", "SRT", View.XCCL),
        ("Y-X1770", "SNM3", View.XCCL),
        ("R-10244", "SRT", View.OTHER),  # caudo-cranial
        ("12345", "99LOCAL", View.OTHER),
    ],
)
def test_view_codes_of_every_scheme_are_understood(value, scheme, view):
    """SNOMED CT, SNOMED RT and the code that was never valid name the same view."""
    header = header_from(viewed(value, scheme))
    assert (header.view, header.view_source) == (view, "ViewCodeSequence")


@pytest.mark.parametrize(
    ("modifier", "expected", "disqualifies"),
    [
        (("R-102D6", "SRT"), "399163009", True),
        (("399055006", "SCT"), "399055006", True),
        (("R-102D5", "SNM3"), "399209000", True),
        (("442581004", "SCT"), "442581004", False),
        (("R-40AB3", "SRT"), "442581004", False),
    ],
)
def test_modifiers_are_told_in_snomed_ct(modifier, expected, disqualifies):
    """Both schemes give one code; nipple in profile leaves a standard view standard."""
    header = header_from(viewed("R-10242", "SRT", modifier))
    assert header.modifiers == (expected,)
    assert bool(header.disqualifying_modifiers) is disqualifies
    assert header.implant_displaced is (expected == "399209000")


@pytest.mark.parametrize(
    ("changes", "view", "source"),
    [
        ({"ViewCodeSequence": None, "ViewPosition": "MLO"}, View.MLO, "ViewPosition"),
        ({"ViewCodeSequence": None, "ViewPosition": "FLATFIELD"}, View.OTHER, "ViewPosition"),
        (
            {"ViewCodeSequence": None, "ViewPosition": None, "PatientOrientation": "MLO"},
            View.MLO,
            "PatientOrientation",
        ),
        (
            {"ViewCodeSequence": None, "ViewPosition": None, "SeriesDescription": "L MLO 2D"},
            View.MLO,
            "SeriesDescription",
        ),
        (
            {"ViewCodeSequence": None, "ViewPosition": None, "SeriesDescription": "CC and MLO"},
            None,
            "",
        ),
        ({"ViewCodeSequence": None, "ViewPosition": None, "SeriesDescription": "ACCESS"}, None, ""),
    ],
)
def test_view_is_taken_from_the_next_best_place(changes, view, source):
    """Without a code: View Position, Patient Orientation of film, a description that is clear."""
    header = header_from(edited(**changes))
    assert (header.view, header.view_source) == (view, source)


def test_laterality_of_a_tomosynthesis_volume_is_in_its_functional_groups():
    """Frame Laterality in the shared functional groups."""
    ds = edited(ImageLaterality=None)
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = "R"
    group.FrameAnatomySequence = Sequence([anatomy])
    ds.SharedFunctionalGroupsSequence = Sequence([group])
    header = header_from(ds)
    assert (header.laterality, header.laterality_source) == (Laterality.RIGHT, "FrameLaterality")


def test_laterality_both_is_no_laterality():
    """B names no breast."""
    assert header_from(edited(ImageLaterality="B")).laterality is None


@pytest.mark.parametrize(
    ("changes", "spacing", "source"),
    [
        ({"ImagerPixelSpacing": [0.1, 0.1]}, 0.1, "ImagerPixelSpacing"),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25},
            0.08,
            "ImagerPixelSpacing/EstimatedRadiographicMagnificationFactor",
        ),
        (
            {
                "ImagerPixelSpacing": [0.5, 0.5],
                "PixelSpacing": [0.25, 0.25],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            0.25,
            "PixelSpacing",
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [53.961136, 45.0225]},
            0.1,
            "ImagerPixelSpacing",
        ),
        ({"ImagerPixelSpacing": None}, None, ""),
        ({"ImagerPixelSpacing": [0.0, 0.0]}, None, ""),
    ],
)
def test_spacing_is_at_the_breast_where_the_file_allows_it(changes, spacing, source):
    """PS3.3 10.7.1.3; a pixel of 54 mm is not believed."""
    header = header_from(edited(**changes))
    found = header.pixel_spacing_mm
    assert (found is None) if spacing is None else found == pytest.approx((spacing, spacing))
    assert header.pixel_spacing_source == source


def test_intent_follows_the_storage_class_where_nothing_says_it():
    """The SOP class of For Processing says For Processing."""
    ds = mammogram_dataset(intent="FOR PROCESSING", **SMALL)
    del ds.PresentationIntentType
    header = header_from(ds)
    assert (header.intent, header.intent_source) == (
        PresentationIntent.FOR_PROCESSING,
        "SOPClassUID",
    )


def test_film_is_assumed_to_be_for_presentation():
    """A Secondary Capture of Modality MG is a film; its intent is an assumption and says so."""
    header = header_from(mammogram_dataset(film=True, **SMALL))
    assert header.film
    assert header.mammography
    assert (header.intent, header.intent_source) == (PresentationIntent.FOR_PRESENTATION, "film")
    assert (header.view, header.view_source) == (View.CC, "PatientOrientation")


def test_a_secondary_capture_of_something_else_is_no_film():
    """Another modality without breast and view is no mammogram."""
    ds = mammogram_dataset(film=True, **SMALL)
    ds.Modality, ds.BodyPartExamined = "OT", "CHEST"
    assert not header_from(ds).mammography


@pytest.mark.parametrize("syntax", NATIVE_SYNTAXES)
def test_a_file_says_the_same_as_its_data_set(syntax, tmp_path):
    """Whatever the byte order, VR encoding or deflation."""
    ds = mammogram_dataset(laterality="R", view="MLO", modifiers=("spot",), **SMALL)
    found = read_image_header(write(ds, tmp_path / "image", transfer_syntax=syntax))
    assert found == header_from(ds, transfer_syntax_uid=syntax)


def test_pixels_are_not_read(tmp_path):
    """A file cut off within its pixels has a whole header."""
    path = write(mammogram_dataset(), tmp_path / "image")
    path.write_bytes(path.read_bytes()[:4000])
    assert read_image_header(path).view_code == "LCC"


# --- refusals ------------------------------------------------------------------------------------


def refusal_of(content: bytes, tmp_path, limits: ReadingLimits | None = None):
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(HeaderRefusedError) as refused:
        read_image_header(path, limits)
    return refused.value


class CountedStream(io.BytesIO):
    """A file in memory that knows how many bytes were taken from it."""

    taken = 0

    def read(self, size=-1, /):
        """Counts."""
        found = super().read(size)
        self.taken += len(found)
        return found


def bytes_taken(content: bytes) -> int:
    """How many of a file's bytes a reader of headers takes, whether it likes them or not."""
    stream = CountedStream(content)
    with contextlib.suppress(HeaderRefusedError):
        read_dicom_file(stream, HEADER_TAGS)
    return stream.taken


def written(tmp_path, ds=None, **options) -> bytes:
    return write(ds or mammogram_dataset(**SMALL), tmp_path / "source", **options).read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xd8\xff\xe0 a photograph", b"\0" * 132, b"DICM" * 100]
)
def test_what_is_no_dicom_file_is_refused(content, tmp_path):
    """Empty, short, JPEG, zeros."""
    assert refusal_of(content, tmp_path).reason is Reason.UNREADABLE


def test_a_missing_preamble_is_refused(tmp_path):
    """PS3.10 7.1: what lacks preamble and prefix is no DICOM file."""
    assert "DICM" in refusal_of(written(tmp_path)[132:], tmp_path).detail


def test_every_truncation_of_the_header_is_a_refusal_or_a_header(tmp_path):
    """No cut raises anything else."""
    whole = written(tmp_path)
    path = tmp_path / "image"
    readable = set()
    for length in range(0, min(len(whole), 1600), 7):
        path.write_bytes(whole[:length])
        with contextlib.suppress(HeaderRefusedError):
            read_image_header(path)
            readable.add(length)
    assert min(readable) > 132


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", None),
        ("SOPInstanceUID", None),
        ("SOPClassUID", None),
        ("StudyInstanceUID", "1.2.x'; DROP TABLE image"),
        ("StudyInstanceUID", "../../etc/passwd"),
        ("SOPInstanceUID", "1." + "2" * 64),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_object_without_a_proper_identity_is_refused(keyword, value):
    """Missing or absurd UIDs; the detail names the attribute and never its value."""
    ds = edited(**{keyword: value})
    with pytest.raises(HeaderRefusedError) as refused:
        header_from(ds)
    assert keyword in refused.value.detail
    assert value is None or value not in refused.value.detail


def test_a_deflated_bomb_is_stopped_at_its_limit(tmp_path):
    """Half a gigabyte of zeros in 500 kB is inflated no further than the limit."""
    head = written(tmp_path, transfer_syntax=NATIVE_SYNTAXES[3])
    meta = head[: 132 + 12 + struct.unpack_from("<I", head, 140)[0]]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    element = struct.pack("<HH2sHI", 9, 1, b"OB", 0, 0x7FFFFFF0)
    bomb = deflate.compress(element) + b"".join(
        deflate.compress(bytes(1 << 20)) for _ in range(512)
    )
    tracemalloc.start()
    try:
        refused = refusal_of(meta + bomb + deflate.flush(), tmp_path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.reason is Reason.TOO_LARGE
    assert peak_bytes < 3 * ReadingLimits().inflated_bytes


def test_endless_nesting_is_stopped(tmp_path):
    """Ten thousand sequences within each other are refused, not followed."""
    prefix = written(tmp_path)
    meta = prefix[: 132 + 12 + struct.unpack_from("<I", prefix, 140)[0]]
    level = struct.pack("<HH2sHI", 0x0054, 0x0220, b"SQ", 0, 0xFFFFFFFF)
    level += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert "deeper" in refusal_of(meta + level * 10_000, tmp_path).detail


def test_endless_elements_are_stopped(tmp_path):
    """A million empty elements are refused after some thousand."""
    prefix = written(tmp_path)
    meta = prefix[: 132 + 12 + struct.unpack_from("<I", prefix, 140)[0]]
    elements = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0) * 1_000_000
    assert "elements" in refusal_of(meta + elements, tmp_path).detail
    assert bytes_taken(meta + elements) < len(meta) + 10 * ReadingLimits().elements


def test_a_huge_private_element_is_passed_over(tmp_path):
    """Eight megabytes of private data before the image attributes are not loaded."""
    ds = mammogram_dataset(**SMALL)
    ds.add_new(0x00091001, "OB", bytes(8 << 20))
    path = write(ds, tmp_path / "image")
    assert read_image_header(path).rows == 64
    assert bytes_taken(path.read_bytes()) < 1 << 16


# Rows in three bytes.
BROKEN_NUMBER = struct.pack("<HH2sH", 0x28, 0x10, b"US", 3) + b"abc"


def sequence(tag: int, inner: bytes) -> bytes:
    """An explicit little endian sequence of one item."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(item)) + item


@pytest.mark.parametrize(
    ("keyword", "found"),
    [("Modality", "modality"), ("Manufacturer", "manufacturer"), ("Rows", "rows")],
)
def test_a_sequence_where_a_value_belongs_is_an_absent_value(tmp_path, keyword, found):
    """Nobody looks at what is in it: a number of three bytes here, which pydicom cannot convert."""
    ds = edited(**{keyword: None})
    tag = tag_for_keyword(keyword)
    path = write(ds, tmp_path / "image")
    raw = path.read_bytes()
    length = struct.unpack_from("<I", raw, 140)[0]
    broken = sequence(tag, BROKEN_NUMBER)
    # Out of order, which no reader minds: right behind the file meta.
    path.write_bytes(raw[: 144 + length] + broken + raw[144 + length :])
    assert not getattr(read_image_header(path), found)


def test_a_number_beyond_32_bits_is_absent(tmp_path):
    """No integer VR has it, and no ledger could keep it."""
    ds = edited()
    ds[0x00280008] = RawDataElement(
        BaseTag(0x00280008), "IS", 6, b"1e300 ", 0, is_implicit_VR=False, is_little_endian=True
    )
    assert header_from(ds).frames == 1


VRS = (b"SQ", b"UN", b"US", b"LO", b"OW", b"FD", b"PN", b"UI", b"DS", b"IS", b"AT", b"UT", b"OB")


# Where elements probably begin.
FIRST_GROUPS = (b"\x08\0", b"\x18\0", b"\x20\0", b"\x28\0")


def mutated(draw: random.Random, content: bytes) -> bytes:
    """One to four changes of bytes, lengths or VRs; parts cut out, doubled, put in."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(132, max(133, len(data) - 8))
        match draw.randrange(7):
            case 0:
                data[place : place + 1] = draw.randbytes(1)
            case 1 | 2:
                names = [found.start() for found in re.finditer(rb"[A-Z]{2}", data[132:])]
                if names:
                    place = 132 + draw.choice(names)
                    data[place : place + 2] = draw.choice(VRS)
            case 3:
                length = draw.choice([0, 1, 3, 8, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
                data[place : place + 4] = struct.pack("<I", length)
            case 4:
                del data[place : place + draw.randint(1, 40)]
            case 5:
                start = draw.randrange(132, max(133, len(data) - 8))
                data[place:place] = data[start : start + draw.randint(4, 80)]
            case 6:
                tag = draw.choice([0x00080060, 0x00080008, 0x00181164, 0x00280010, 0x00080016])
                starts = [at for at in range(132, len(data)) if data[at : at + 2] in FIRST_GROUPS]
                place = draw.choice(starts) if starts else place
                data[place:place] = sequence(tag, draw.choice([BROKEN_NUMBER, draw.randbytes(30)]))
    return bytes(data)


@pytest.mark.parametrize("syntax", NATIVE_SYNTAXES)
def test_a_thousand_mutations_give_a_header_or_a_refusal(syntax, tmp_path):
    """Nothing else is raised, nothing is warned of (pydicom's warnings quote values).

    However it is broken, no file has its bytes taken twice.
    """
    draw = random.Random(f"header {syntax}")
    sources = [
        write(mammogram_dataset(rows=8, columns=8, **more), tmp_path / "x", transfer_syntax=syntax)
        for more in ({"modifiers": ("spot",)}, {"film": True})
    ]
    contents = [path.read_bytes() for path in sources]
    path = tmp_path / "image"
    readable = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(1000):
            content = mutated(draw, contents[number % len(contents)])
            path.write_bytes(content)
            with contextlib.suppress(HeaderRefusedError):
                json.dumps(asdict(read_image_header(path)))
                readable += 1
            assert bytes_taken(content) <= len(content)
    assert 100 < readable < 900


def test_broken_values_are_absent_values(tmp_path):
    """Text where a number belongs, and too many values, do no harm."""
    raw = written(tmp_path)
    raw = raw.replace(b"0.1\\0.1 ", b"abc\\def ")
    path = tmp_path / "image"
    path.write_bytes(raw)
    assert read_image_header(path).pixel_spacing_mm is None
