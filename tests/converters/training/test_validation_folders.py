"""The validation part as folders for `evaluate`: its patients, all of theirs, nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.training.validation_folders import main

SPLIT = """data_set,patient,part
cbis-ddsm-lesions,P_00001,training
cbis-ddsm-lesions,P_00005,validation
cdd-cesm-dm,12,validation
cdd-cesm-dm,13,training
"""
VIEWS = """file,patient,label
a.png,12,benign
a.png,12,malignant
b.png,13,normal
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two patients with crops, two with views."""
    for name in ("P_00001_LEFT_CC_1", "P_00005_LEFT_CC_1", "P_00005_LEFT_MLO_1"):
        crop = tmp_path / "data" / "cbis-ddsm-lesions" / "mass" / "benign" / f"{name}.jpg"
        crop.parent.mkdir(parents=True, exist_ok=True)
        crop.write_text(name)
    views = tmp_path / "data" / "cdd-cesm-dm"
    views.mkdir()
    (views / "labels.csv").write_text(VIEWS)
    for name in ("a.png", "b.png"):
        (views / name).write_text(name)
    (tmp_path / "split.csv").write_text(SPLIT)
    return tmp_path / "data"


def test_the_validation_part_and_nothing_else(data: Path, tmp_path: Path, capsys) -> None:
    """Crops in their folders, views with all of their rows; the counts are printed."""
    out = tmp_path / "out"
    main(["--data", str(data), "--out", str(out), "--split", str(tmp_path / "split.csv")])
    found = {
        path.relative_to(out).as_posix(): path.read_text()
        for path in out.rglob("*")
        if path.is_file()
    }
    assert found == {
        "crops/mass/benign/P_00005_LEFT_CC_1.jpg": "P_00005_LEFT_CC_1",
        "crops/mass/benign/P_00005_LEFT_MLO_1.jpg": "P_00005_LEFT_MLO_1",
        "digital/a.png": "a.png",
        "digital/labels.csv": "file,patient,label\na.png,12,benign\na.png,12,malignant\n",
    }
    said = capsys.readouterr().out
    assert "2 crops: " in said
    assert "1 views: " in said


def test_what_is_missing_is_named_before_anything_is_written(
    data: Path, tmp_path: Path, capsys
) -> None:
    """The next run, with the data, finds no folder of this one."""
    (data / "cdd-cesm-dm" / "labels.csv").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(data), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "labels.csv: is not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(data: Path, tmp_path: Path, capsys) -> None:
    """A folder that is there already ends it with 2."""
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(data), "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "is there already" in capsys.readouterr().err
