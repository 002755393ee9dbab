"""`mammoedge evaluate`: its last line, its verdict, and what it does not hide."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from converters.packaging.phantom import Phantom
from runtime.cli.main import main
from tests.support.packages import build_package
from tests.support.synthetic import mammogram_dataset, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose score is the brightness of the image."""
    return build_package(tmp_path_factory.mktemp("packages"), score="brightness", threshold=0.2)


@pytest.fixture(scope="module")
def spacing_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but it needs to know how large a pixel is."""
    folder = tmp_path_factory.mktemp("packages")
    return build_package(folder, score="brightness", resize="spacing_mm", name="spacing")


@pytest.fixture
def views(tmp_path: Path) -> Path:
    """Eight views; the malignant ones are brighter, but for one pair."""
    folder = tmp_path / "views"
    folder.mkdir()
    # The darkest still spans what a displayed breast must span (`display_implausible`).
    grays = (0.9, 0.8, 0.7, 0.5, 0.6, 0.45, 0.4, 0.35)
    for number, gray in enumerate(grays):
        pixels = Phantom(lesion=False, bits_stored=8).pixels() * gray
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels.astype(np.uint8))
    rows = [
        f"{n}.png,p{n},L,{'CC' if n % 2 else 'MLO'},{'malignant' if n < 4 else 'normal'},0.25,"
        for n in range(8)
    ]
    write_labels(folder, rows)
    return folder


def write_labels(folder: Path, rows: list[str]) -> None:
    """labels.csv in the form of the sample data."""
    header = "file,patient,laterality,view,label,pixel_spacing_mm,note"
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


def evaluate(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and last line."""
    code = main(["evaluate", *(str(word) for word in words), "--threads", "1"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_last_line_has_every_figure(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """15 of 16 pairs are in order; subgroups, interval and verdict stand beside it."""
    labels = views / "labels.csv"
    code, line = evaluate(capsys, package, "--images", views, "--labels", labels, "--json")
    assert code == 1
    assert (line["n"], line["positives"], line["not_assessed"]) == (8, 4, 0)
    assert line["auc"] == line["auc_assessed"] == pytest.approx(15 / 16, abs=1e-4)
    assert line["ci95"][0] < line["auc"] < line["ci95"][1]
    assert line["by"]["view=CC"]["n"] == 4
    assert line["by"]["view=MLO"]["auc"] == 1.0
    assert line["verdict"] == "not proved"
    assert "AUC 0.938 (0.438 to 0.997) cannot be told from chance, 0.5" in line["because"]


def test_enough_views_on_both_sides_of_the_point_pass(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0: an AUC that is no chance, and both classes got right at the point."""
    rows = (views / "labels.csv").read_text().splitlines()[1:]
    more = []
    for row in rows:
        name, _, rest = row.partition(",")
        for number in range(5):
            shutil.copyfile(views / name, views / f"{number}-{name}")
            more.append(f"{number}-{name},{rest}")
    write_labels(views, rows + more)
    labels = views / "labels.csv"
    code, line = evaluate(capsys, package, "--images", views, "--labels", labels, "--json")
    assert (code, line["verdict"], line["because"]) == (0, "pass", [])


def test_a_missed_auc_fails_and_says_so_by_exit_code(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only on pass."""
    labels = views / "labels.csv"
    words = (package, "--images", views, "--labels", labels, "--json", "--min-auc")
    assert evaluate(capsys, *words, 0.93)[1]["verdict"] == "not proved"
    code, line = evaluate(capsys, *words, 0.95)
    assert (code, line["verdict"]) == (1, "fail")


def test_with_json_nothing_else_is_printed(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress goes to stderr; without --json a table precedes the line."""
    words = ["evaluate", str(package), "--images", str(views)]
    words += ["--labels", str(views / "labels.csv"), "--threads", "1"]
    assert main([*words, "--json"]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert "8/8 images" in printed.err
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "balanced" in shown
    assert "verdict: not proved" in shown


def test_what_could_not_be_told_does_not_pass(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No AUC of one class alone, nor of images that nobody could judge."""
    words = (package, "--images", views, "--labels", views / "labels.csv", "--json")
    write_labels(views, [f"{n}.png,p{n},L,CC,malignant,0.25," for n in range(8)])
    code, line = evaluate(capsys, *words)
    assert (code, line["verdict"], line["auc"]) == (1, "fail", None)
    write_labels(views, [f"{n}.png,p{n},L,CC,{'malignant' if n else 'normal'},1," for n in (0, 1)])
    for number in (0, 1):
        (views / f"{number}.png").write_bytes(b"torn")
    code, line = evaluate(capsys, *words)
    assert (code, line["verdict"], line["not_assessed"]) == (1, "fail", 2)


def test_a_column_with_many_values_takes_no_room_from_the_others(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is left out as a whole, wherever it stands, and the line says so."""
    header = "file,acquired,laterality,view,label,pixel_spacing_mm"
    rows = []
    for number in range(70):
        (views / f"x{number}.png").write_bytes(b"torn")
        label = "malignant" if number % 2 else "normal"
        rows.append(f"x{number}.png,day {number},L,{'CC' if number < 66 else 'MLO'},{label},0.25")
    (views / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    words = (package, "--images", views, "--labels", views / "labels.csv")
    _, line = evaluate(capsys, *words, "--json")
    assert line["left_out_of_by"] == ["acquired"]
    assert {group: row["n"] for group, row in line["by"].items()} == {
        "laterality=L": 70, "view=CC": 66, "view=MLO": 4,
    }  # fmt: skip


def test_a_level_of_folders_for_each_patient_leaves_the_others(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mass and calc are subgroups still, patients are none."""
    for number in range(70):
        kind, label = ("mass", "calc")[number % 2], ("malignant", "benign")[number // 35]
        path = tmp_path / kind / f"P{number}" / label / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"torn")
    words = (package, "--images", tmp_path, "--labels-from-folders", "--regions", "--json")
    _, line = evaluate(capsys, *words)
    assert {group: row["n"] for group, row in line["by"].items()} == {"mass": 35, "calc": 35}
    assert line["left_out_of_by"] == ["folder 2"]


def test_an_unreadable_positive_costs_what_a_missed_one_costs(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts lowest in `auc`, is left out of `auc_assessed`, and its reason is counted."""
    (views / "0.png").write_bytes(b"torn")
    labels = views / "labels.csv"
    code, line = evaluate(capsys, package, "--images", views, "--labels", labels, "--json")
    assert code == 1
    assert line["not_assessed"] == 1
    assert line["not_assessed_by_reason"] == {"undecodable": 1}
    assert line["auc"] == pytest.approx(11 / 16, abs=1e-4)
    assert line["auc_assessed"] == pytest.approx(11 / 12, abs=1e-4)


def test_without_any_spacing_a_view_is_not_assessed(
    spacing_package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless the option gives it; the CSV's column goes before the option."""
    rows = (views / "labels.csv").read_text().replace(",0.25,", ",,").splitlines()[1:]
    write_labels(views, rows)
    words = (spacing_package, "--images", views, "--labels", views / "labels.csv", "--json")
    _, line = evaluate(capsys, *words)
    assert line["not_assessed_by_reason"] == {"spacing_unknown": 8}
    _, line = evaluate(capsys, *words, "--pixel-spacing-mm", 0.25)
    assert line["not_assessed"] == 0


def test_regions_are_judged_whole_without_view_side_or_gate(
    spacing_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Crops have no breast to find; the folders are label and subgroup; 0.05 mm is assumed."""
    for number in range(8):
        label = "malignant" if number < 4 else "benign_without_callback"
        path = tmp_path / ("mass", "calc")[number % 2] / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        gray = np.full((40, 60), 250 - 20 * number, np.uint8)
        assert cv2.imwrite(str(path), gray)
    words = (spacing_package, "--images", tmp_path, "--labels-from-folders", "--regions", "--json")
    _, line = evaluate(capsys, *words)
    assert (line["n"], line["positives"], line["not_assessed"]) == (8, 4, 0)
    assert line["auc"] == 1.0
    assert sorted(line["by"]) == ["calc", "mass"]


@pytest.fixture(scope="module")
def mapping_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a map of 4 x 3 cells: how bright the image is there."""
    folder = tmp_path_factory.mktemp("packages")
    return build_package(folder, score="brightness", evidence=True, name="mapping", threshold=0.2)


LESION = (168, 160, 50)
"""Row, column and radius, in pixels of the phantom: the middle of the map's cell (1, 1)."""


def view_with_lesion(*, laterality: str = "L") -> np.ndarray:
    """A phantom, 8 bits, whose brightest part is a disc at `LESION`, mirrored for a right one."""
    pixels = Phantom(lesion=False, bits_stored=8).pixels() * 0.6
    row, column, radius = LESION
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    pixels = np.where(np.hypot(y - row, x - column) < radius, 250.0, pixels)
    return (pixels[:, ::-1] if laterality == "R" else pixels).astype(np.uint8)


def test_a_map_is_held_against_the_lesions_whose_place_is_known(
    mapping_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among several lesions; a benign one, and one without a place, not."""
    row, column, radius = LESION
    mirrored = 319 - column
    rows = [
        f"hit.png,a,L,CC,malignant,0.25,{column},{row},{radius}",
        f"right.png,b,R,CC,malignant,0.25,{mirrored},{row},{radius}",
        f"missed.png,c,L,CC,malignant,0.25,{column},{row + 2 * radius},{radius}",
        f"second.png,d,L,CC,malignant,0.25,{column},{row + 2 * radius},{radius}",
        f"second.png,d,L,CC,malignant,0.25,{column},{row},{radius}",
        "nowhere.png,e,L,CC,malignant,0.25,,,",
        f"benign.png,f,L,CC,benign,0.25,{column},{row},{radius}",
        f"faint.png,g,L,CC,malignant,0.25,{column},{row},{radius}",
    ]
    for line in rows:
        name, _, laterality, *_ = line.split(",")
        pixels = view_with_lesion(laterality=laterality)
        if name == "faint.png":
            pixels //= 2
        assert cv2.imwrite(str(tmp_path / name), pixels)
    table = tmp_path / "labels.csv"
    header = "file,patient,laterality,view,label,pixel_spacing_mm"
    header += ",lesion_x_px,lesion_y_px,lesion_radius_px"
    table.write_text("\n".join([header, *rows]) + "\n")
    words = (mapping_package, "--images", tmp_path, "--labels", table)
    _, line = evaluate(capsys, *words, "--json")
    assert line["not_assessed"] == 0
    at_point = {"balanced": {"flagged": 4, "hits": 3}}
    assert line["peak_in_lesion"] == {"known": 5, "hits": 4, "operating_points": at_point}
    assert main(["evaluate", *(str(word) for word in words), "--threads", "1"]) == 1
    printed = capsys.readouterr().out
    assert "balanced                     3 of 4: 0.750 (0.301-0.954)" in printed


def test_a_map_of_a_dicom_image_is_held_against_its_lesion(
    mapping_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place says nothing that would change the score: the unit's own path gives that."""
    seen = view_with_lesion(laterality="R").astype(np.uint16) * 16
    dataset = mammogram_dataset(laterality="R", view="CC", pixels=seen)
    write(dataset, tmp_path / "right.dcm")
    row, column, radius = LESION
    table = tmp_path / "labels.csv"
    words = (mapping_package, "--images", tmp_path, "--labels", table, "--json")
    table.write_text("file,label\nright.dcm,malignant\n")
    without = evaluate(capsys, *words)[1]
    assert without.pop("peak_in_lesion") is None
    table.write_text(
        "file,label,lesion_x_px,lesion_y_px,lesion_radius_px\n"
        f"right.dcm,malignant,{319 - column},{row},{radius}\n"
    )
    line = evaluate(capsys, *words)[1]
    assert line["not_assessed_by_reason"] == {}
    found = line.pop("peak_in_lesion")
    assert (found["known"], found["hits"]) == (1, 1)
    assert line == without


def test_without_places_nothing_is_said_of_the_map(
    mapping_package: Path, package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor of a package that has no map."""
    words = ("--images", views, "--labels", views / "labels.csv", "--json")
    assert evaluate(capsys, mapping_package, *words)[1]["peak_in_lesion"] is None
    lines = (views / "labels.csv").read_text().splitlines()
    lines = [f"{lines[0]},lesion_x_px,lesion_y_px,lesion_radius_px"] + [
        f"{line},160,168,50" for line in lines[1:]
    ]
    (views / "labels.csv").write_text("\n".join(lines) + "\n")
    assert evaluate(capsys, mapping_package, *words)[1]["peak_in_lesion"]["known"] == 4
    assert evaluate(capsys, package, *words)[1]["peak_in_lesion"] is None


@pytest.mark.parametrize("missing", ["images", "labels", "package"])
def test_what_is_not_there_is_named(
    package: Path,
    views: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    """Exit code 2, a line on stderr, no verdict."""
    paths = {"images": views, "labels": views / "labels.csv", "package": package}
    paths[missing] = tmp_path / "nowhere"
    words = ["evaluate", str(paths["package"]), "--images", str(paths["images"])]
    assert main([*words, "--labels", str(paths["labels"]), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere" in printed.err
