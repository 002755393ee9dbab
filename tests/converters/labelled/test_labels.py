"""Labels of an evaluation set: from a CSV or from folders, or refused with file and field."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from converters.errors import BenchFaultError
from converters.evaluation.inference_on_labelled import key_of_notes
from converters.labelled.labels import Labels
from converters.labelled.scored_subject import ScoredSubject, SlottedImage

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "file,patient,laterality,view,label,pixel_spacing_mm,density,note\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three empty files that are never opened here."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()
    return tmp_path


def table(folder: Path, *rows: str) -> Path:
    """A labels.csv with the given rows."""
    path = folder / "labels.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_a_view_has_the_worst_label_of_its_rows(images: Path) -> None:
    """Also when its rows do not follow each other, and in either order."""
    labels = Labels.from_csv(
        images,
        table(
            images,
            "a.png,1,R,MLO,benign,0.2,,",
            "b.png,1,L,MLO,malignant,,,",
            "a.png,1,R,MLO,malignant,0.2,,",
            "b.png,1,L,MLO,normal,,,",
            "c.png,2,L,CC,benign,,,",
        ),
    )
    assert [(i.path.name, i.positive) for i in labels] == [
        ("a.png", True),
        ("b.png", True),
        ("c.png", False),
    ]


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("1", "0", "0"), ("1",)),
        (("Cancer", "no cancer", "recalled"), ("cancer",)),
        (("5", "malignant", "2"), ("5", "malignant")),
    ],
)
def test_labels_as_hospitals_write_them(
    images: Path, labels: tuple[str, ...], positive: tuple[str, ...]
) -> None:
    """What is not among the words that are positive is not."""
    rows = [f"{name}.png,1,R,CC,{label},,," for name, label in zip("abc", labels, strict=True)]
    found = Labels.from_csv(images, table(images, *rows), positive)
    wanted = [label.lower() in positive for label in labels]
    assert [image.positive for image in found] == wanted
    assert found.positives == sum(wanted)


def test_folders_as_hospitals_call_them(tmp_path: Path) -> None:
    """The same words for names of folders."""
    for name in ("biopsy proven", "clear"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    assert Labels.from_folders(tmp_path, ["Biopsy proven"]).positives == 1
    with pytest.raises(BenchFaultError, match="--positive WORD,WORD says which"):
        Labels.from_folders(tmp_path)


def test_an_empty_label_is_none_at_all(images: Path) -> None:
    """It is no negative."""
    with pytest.raises(BenchFaultError, match="line 2: label '' is none of"):
        Labels.from_csv(images, table(images, "a.png,1,R,CC,,,,", "b.png,1,R,CC,1,,,"), ["1"])


def test_columns_become_subgroups_but_not_those_that_name_someone(images: Path) -> None:
    """View, laterality and density do; patient, file, label and note do not."""
    labels = Labels.from_csv(images, table(images, "a.png,7,R,MLO,malignant,0.2,D,seen twice"))
    (image,) = labels
    assert image.subgroups == ("laterality=R", "view=MLO", "density=D")
    assert (image.laterality, image.view, image.pixel_spacing_mm) == ("R", "MLO", 0.2)


def test_the_worst_row_says_what_it_is_and_any_row_what_it_knows(images: Path) -> None:
    """In either order, and however the file is written."""
    rows = ["a.png,,,,benign,,D,", "./a.png,7,RIGHT,MLO,malignant,0.2,G,"]
    for written in (rows, rows[::-1]):
        (image,) = Labels.from_csv(images, table(images, *written))
        assert image.subgroups == ("laterality=RIGHT", "view=MLO", "density=G")
        assert (image.positive, image.laterality, image.pixel_spacing_mm) == (True, "R", 0.2)


def test_what_is_said_of_an_image_is_part_of_what_its_answer_is_known_by(images: Path) -> None:
    """A corrected table is asked about anew, though the file is the same."""

    def known_as(row: str) -> str:
        path = images / "labels.csv"
        path.write_text(f"file,label,bits_stored,note\n{row}\n")
        (image,) = Labels.from_csv(images, path)
        slotted = SlottedImage(slot="any", image=image)
        return key_of_notes(ScoredSubject(images=(slotted,), wanted=("any",)))

    assert known_as("a.png,malignant,12,x") == known_as("a.png,malignant,12,y")
    assert known_as("a.png,malignant,12,x") != known_as("a.png,malignant,16,x")


def test_stored_bits_are_said_by_the_table(images: Path) -> None:
    """A column of its own, no subgroup; what is no number of bits is named."""
    path = images / "labels.csv"
    path.write_text("file,label,bits_stored\na.png,malignant,12.0\nb.png,normal,\n")
    assert [(i.bits_stored, i.subgroups) for i in Labels.from_csv(images, path)] == [
        (12, ()),
        (None, ()),
    ]
    path.write_text("file,label,bits_stored\na.png,malignant,17\n")
    with pytest.raises(BenchFaultError, match="bits_stored '17' is no whole number from 1 to 16"):
        Labels.from_csv(images, path)


def test_what_desktops_and_archives_leave_beside_images_is_none(tmp_path: Path) -> None:
    """Hidden files and folders, files without suffix that are no DICOM; a DICOM one counts."""
    folder = tmp_path / "malignant"
    for name in ("1.png", ".DS_Store", "._1.png", "LICENCE", "DICOMDIR", ".cache/2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / ".DS_Store").touch()
    for name in ("00000001", "DICOMDIR"):
        (folder / name).write_bytes(bytes(128) + b"DICM")
    assert [i.path.name for i in Labels.from_folders(tmp_path)] == ["00000001", "1.png"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    """A link that leads back to where it came from ends there."""
    store, images = tmp_path / "store", tmp_path / "images"
    (store / "malignant").mkdir(parents=True)
    (store / "malignant" / "1.png").touch()
    (store / "malignant" / "again").symlink_to(store)
    images.mkdir()
    (images / "mass").symlink_to(store)
    found = [
        (i.path.relative_to(images).as_posix(), i.subgroups) for i in Labels.from_folders(images)
    ]
    assert found == [("mass/malignant/1.png", ("mass",))]


def test_images_in_no_folder_and_names_that_are_no_text_are_named(tmp_path: Path) -> None:
    """The message says what is wrong with them, not with a label."""
    (tmp_path / "1.png").touch()
    with pytest.raises(BenchFaultError, match="lie in no folder that names their label"):
        Labels.from_folders(tmp_path)
    (tmp_path / "1.png").rename(tmp_path / "1.txt")
    folder = tmp_path / "malignant"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"l\xe9sion.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(BenchFaultError, match=r"l\\xe9sion.*is no UTF-8"):
        Labels.from_folders(tmp_path)


def test_folders_are_label_and_subgroups(tmp_path: Path) -> None:
    """The last folder is the label, in capitals or not; those above it are subgroups."""
    for name in ("mass/Malignant/1.jpg", "calc/benign_without_callback/2.jpg", "calc/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [(i.path.name, i.positive, i.subgroups) for i in Labels.from_folders(tmp_path)]
    assert found == [("2.jpg", False, ("calc",)), ("1.jpg", True, ("mass",))]


@pytest.mark.parametrize(
    ("row", "telling"),
    [
        ("gone.png,1,R,CC,malignant,,,", "'gone.png' does not exist"),
        ("../a.png,1,R,CC,malignant,,,", "does not lie below"),
        ("a.png,1,R,CC,cancer,,,", "label 'cancer' is none of"),
        ("a.png,1,R,CC,malignant,wide,,", "'wide' is no number"),
        ("a.png,1,R,CC,malignant,-1,,", "not between 0 and 10"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(
    images: Path, row: str, telling: str
) -> None:
    """File, line and field stand in the message; good rows beside it do not hide it."""
    path = table(images, "b.png,1,R,CC,malignant,,,", row)
    with pytest.raises(BenchFaultError, match=r"labels\.csv, line 3") as refused:
        Labels.from_csv(images, path)
    assert telling in refused.value.faults[0]


def test_a_csv_without_its_columns_is_refused(images: Path) -> None:
    """Both missing columns are named."""
    path = images / "labels.csv"
    path.write_text("image,class\na.png,malignant\n")
    with pytest.raises(BenchFaultError) as refused:
        Labels.from_csv(images, path)
    assert len(refused.value.faults) == 2


def test_a_set_without_positives_is_refused(images: Path) -> None:
    """No AUC can come of it; the table is named, not the folder."""
    written = table(images, "a.png,1,R,CC,benign,,,")
    with pytest.raises(BenchFaultError, match=f"{written.name}: no image is labelled malignant"):
        Labels.from_csv(images, written)


def test_a_folder_that_is_no_label_is_refused_once(tmp_path: Path) -> None:
    """Not once for each of its files."""
    (tmp_path / "maybe").mkdir()
    for number in range(5):
        (tmp_path / "maybe" / f"{number}.png").touch()
    with pytest.raises(BenchFaultError) as refused:
        Labels.from_folders(tmp_path)
    assert len(refused.value.faults) == 1


LESIONS = "file,label,lesion_x_px,lesion_y_px,lesion_radius_px\n"


def test_places_of_malignant_lesions_are_kept(images: Path) -> None:
    """All of a view's; none of a benign one, none that is not given in full."""
    path = images / "labels.csv"
    rows = ("a.png,malignant,10,20,3", "a.png,benign,40,50,6", "a.png,malignant,70,80.5,9")
    path.write_text(LESIONS + "\n".join((*rows, "b.png,malignant,10,,3", "c.png,benign,1,2,3")))
    found = {image.path.name: image.lesions for image in Labels.from_csv(images, path)}
    assert [(lesion.column_px, lesion.row_px, lesion.radius_px) for lesion in found["a.png"]] == [
        (10.5, 20.5, 3.0),
        (70.5, 81.0, 9.0),
    ]
    assert found["b.png"] == found["c.png"] == ()
    first = found["a.png"][0]
    assert first.holds(20.5, 13.5)
    assert not first.holds(23.0, 12.5)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a.png,malignant,10,here,3", r"line 2: lesion_y_px 'here' is no number"),
        ("a.png,malignant,nan,2,3", r"line 2: lesion_x_px 'nan' is no number"),
        ("a.png,malignant,1,2,0", r"line 2: lesion_radius_px 0.0 is not above 0"),
        ("a.png,benign,1,2,1e999", r"line 2: lesion_radius_px '1e999' is no number"),
    ],
)
def test_a_place_that_is_none_is_named(images: Path, row: str, told: str) -> None:
    """With line and column, also of a lesion that would not count."""
    path = images / "labels.csv"
    path.write_text(f"{LESIONS}{row}\n")
    with pytest.raises(BenchFaultError) as raised:
        Labels.from_csv(images, path)
    assert told in raised.value.faults[0]
