"""A package of another role than triage: `judge` tells what it finds, no unit runs it."""

from __future__ import annotations

import json

import pytest

from models.package_role import PackageRole
from runtime.cli.judge import finding_words
from runtime.cli.main import main
from runtime.image.outcome import Finding
from tests.support.builders import EXECUTION
from tests.support.packages import CLASSES, build_package
from tests.support.synthetic import mammogram_dataset, write
from tests.support.units import UnitProcess


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    """A package of the role density, whose likeliest class is C."""
    return build_package(tmp_path_factory.mktemp("density"), role="density", name="dense")


@pytest.fixture
def view(tmp_path):
    """An image that is judged."""
    return write(mammogram_dataset(rows=600, columns=500), tmp_path / "view.dcm")


def judged(capsys, package, *words):
    """The JSON line of one file."""
    assert main(["judge", "--json", "--package", str(package), *map(str, words)]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_finding_is_told_beside_no_flag(density, view, capsys):
    """The outputs by role; flag, score, operating point and threshold are null."""
    line = judged(capsys, density, view)
    assert line["outcome"] == "judged"
    found = line["findings"]["density"]
    assert found["package"] == line["model"] == "dense-1.0.0"
    assert found["outputs"] == pytest.approx(CLASSES, abs=1e-3)
    nothing = ("flag", "score", "operating_point", "threshold")
    assert [line[key] for key in nothing] == [None] * len(nothing)
    assert "priority" not in json.dumps(line)


def test_the_text_says_what_was_found(density, view, tmp_path, capsys):
    """`density: C 0.71`, explained too, and no word of a flag."""
    options = ["--explain", "--picture", str(tmp_path / "seen.png")]
    assert main(["judge", "--package", str(density), *options, str(view)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("density: C 0.71 ")
    assert "density_c" in text
    assert "nothing is flagged" in text
    assert "priority" not in text
    assert (tmp_path / "seen.png").is_file()


def test_what_it_cannot_judge_has_no_flag_either(density, tmp_path, capsys):
    """The reason, with `flag` null and no findings."""
    torn = tmp_path / "torn.dcm"
    torn.write_bytes(b"no image")
    line = judged(capsys, density, torn)
    assert (line["outcome"], line["flag"], line["findings"]) == ("not_assessed", None, {})
    assert line["reasons"]
    assert main(["judge", "--package", str(density), str(torn)]) == 0
    assert capsys.readouterr().out.startswith(f"density: not assessed, {line['reasons'][0]}")


def test_a_triage_package_gives_its_flag_and_the_same_findings(view, tmp_path, capsys):
    """One shape for every role."""
    package = build_package(tmp_path, score=0.9)
    line = judged(capsys, package, view)
    assert (line["flag"], line["threshold"]) == ("priority", 0.5)
    assert line["findings"]["triage"]["outputs"] == {"suspicion": pytest.approx(line["score"])}


def test_every_output_of_another_role_is_told():
    """Of densities the likeliest; years of a risk are no classes of one another."""
    outputs = {"risk_1_year": 0.02, "risk_5_years": 0.124}
    found = Finding(role=PackageRole.RISK, outputs=outputs, execution=EXECUTION)
    assert finding_words(found) == "risk: 1_year 0.02, 5_years 0.12"


def test_no_unit_runs_a_package_that_is_not_triage(density, tmp_path, capsys):
    """Not at the start (exit code 2) and not in `check`, each with the way out."""
    unit = UnitProcess(tmp_path / "unit", package=density, broker_port=1)
    assert main(["run", "--config", str(unit.config)]) == 2
    said = capsys.readouterr().err
    assert "only a package of the role triage may flag exams" in said
    assert "[model] package" in said
    assert main(["check", "--json", "--config", str(unit.config)]) == 1
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (bad,) = [verdict for verdict in verdicts if verdict["grade"] == "bad"]
    assert bad["name"] == "package"
    assert "role: density" in bad["found"]


def as_version_1(package) -> None:
    """The manifest as a bench of before wrote it: no role, D is the suspicion."""
    file = package / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    del manifest["role"]
    manifest["outputs"][-1]["suspicion"] = True
    manifest["operating_points"] = [{"name": "balanced", "threshold": 0.5}]
    file.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_package_of_before_that_flags_by_density_is_refused(tmp_path, view, capsys):
    """By `judge`, at the start and by `check`: build it again, with the role."""
    package = build_package(tmp_path, role="density", name="old")
    as_version_1(package)
    unit = UnitProcess(tmp_path / "unit", package=package, broker_port=1)
    for words in (
        ["judge", "--package", str(package), str(view)],
        ["run", "--config", str(unit.config)],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "'density_d' is by its name of density" in said
        assert 'role = "density"' in said
        assert "build it again" in said
    assert main(["check", "--config", str(unit.config)]) == 1
    assert "build it again" in capsys.readouterr().out


def test_labelled_images_are_not_asked_of_it(density, tmp_path, capsys):
    """`evaluate` says that the kind cannot be proved, instead of an AUC of nothing."""
    write(mammogram_dataset(rows=600, columns=500), tmp_path / "a.dcm")
    (tmp_path / "labels.csv").write_text("file,label\na.dcm,malignant\n", encoding="utf-8")
    words = ["evaluate", density, "--images", tmp_path, "--labels", tmp_path / "labels.csv"]
    assert main([str(word) for word in words]) == 2
    assert "its role is density" in capsys.readouterr().err
