"""A run that was broken off goes on where it was, and never with other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from converters.training.__main__ import main  # noqa: E402
from converters.training.learning.settings import TABLES  # noqa: E402
from converters.training.learning.stages import (  # noqa: E402  (needs torch)
    AFTER_LEARNING,
    Checkpoints,
    ResumeError,
    checkpoints,
)

SETTINGS = Path("converters/training/settings.toml").resolve()


def learnt_to(value: float):
    """A stage whose network comes out with that weight."""

    def learn(network):
        with torch.no_grad():
            network.weight.fill_(value)
        return network

    return learn


def unreachable(_network):
    """A stage that must not run."""
    raise AssertionError("learnt again")


def test_a_finished_stage_is_not_learnt_again(tmp_path: Path) -> None:
    """Its weights come from the folder."""
    Checkpoints(folder=tmp_path).made("lesions", torch.nn.Linear(1, 1), learnt_to(3.0))
    again = Checkpoints(folder=tmp_path).made("lesions", torch.nn.Linear(1, 1), unreachable)
    assert again.weight.item() == 3.0


def test_a_stage_that_was_broken_off_leaves_nothing(tmp_path: Path) -> None:
    """The next run begins it again."""
    kept = Checkpoints(folder=tmp_path)
    with pytest.raises(AssertionError, match="learnt again"):
        kept.made("lesions", torch.nn.Linear(1, 1), unreachable)
    assert kept.made("lesions", torch.nn.Linear(1, 1), learnt_to(2.0)).weight.item() == 2.0


def test_a_new_run_forgets_the_old_one(tmp_path: Path) -> None:
    """Unless it is told to resume."""
    checkpoints(tmp_path, SETTINGS, resume=False).made(
        "lesions", torch.nn.Linear(1, 1), learnt_to(3.0)
    )
    kept = checkpoints(tmp_path, SETTINGS, resume=True)
    assert kept.made("lesions", torch.nn.Linear(1, 1), unreachable).weight.item() == 3.0
    kept = checkpoints(tmp_path, SETTINGS, resume=False)
    assert kept.made("lesions", torch.nn.Linear(1, 1), learnt_to(2.0)).weight.item() == 2.0


def test_what_lies_beside_the_run_stays(tmp_path: Path) -> None:
    """A run without data ends before it touches anything; networks have a folder of their own."""
    (tmp_path / "mine.pt").write_text("mine")
    (tmp_path / "settings.toml").write_text("mine")
    learnt = tmp_path / "reference.stages"
    learnt.mkdir()
    (learnt / "lesions.pt").write_text("an hour's work")
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "reference.onnx")])
    assert ended.value.code == 2
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {
        "mine.pt": "mine", "settings.toml": "mine", "lesions.pt": "an hour's work",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "telling"),
    [
        (["--data", "."], "cdd-cesm-dm/labels.csv: no such file"),
        (["--data", ".", "--settings", "gone.toml"], "gone.toml"),
        (["--data", ".", "--settings", "even.toml"], "evidence.smoothing_cells: 2 is not odd"),
        (["--data", ".", "--settings", "flat.toml"], "flat.toml: pooling: no table"),
        (["--data", ".", "--settings", "text.toml"], "text.toml: "),
        (["--data", ".", "--out", "."], "--out .: is no name of a file"),
    ],
)
def test_wrong_words_are_told_and_end_with_2(
    tmp_path: Path, monkeypatch, capsys, words: list[str], telling: str
) -> None:
    """No traceback, and nothing is begun."""
    monkeypatch.chdir(tmp_path)
    text = SETTINGS.read_text(encoding="utf-8")
    Path("even.toml").write_text(text.replace("smoothing_cells = 3", "smoothing_cells = 2"))
    Path("flat.toml").write_text("pooling = 3")
    Path("text.toml").write_text(text.replace("smoothing_cells = 3", 'smoothing_cells = "3"'))
    with pytest.raises(SystemExit) as ended:
        main(["--out", "out/reference.onnx", *words])
    assert ended.value.code == 2
    assert telling in capsys.readouterr().err
    assert not Path("out").exists()


def test_nothing_to_resume_from_is_said(tmp_path: Path, capsys) -> None:
    """An hour of learning is not begun without a word."""
    checkpoints(tmp_path, SETTINGS, resume=True)
    assert "no network to resume from" in capsys.readouterr().out
    (tmp_path / "lesions.pt").touch()
    checkpoints(tmp_path, SETTINGS, resume=True)
    assert not capsys.readouterr().out


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    """With what to do about it; so is a list, and the network of other settings."""
    path = tmp_path / "lesions.pt"
    torch.save(torch.nn.Linear(1, 1).state_dict(), path)
    torn = path.read_bytes()[:-100]
    torch.save([1, 2], path)
    listed = path.read_bytes()
    torch.save(torch.nn.Linear(2, 1).state_dict(), path)
    for content in (b"torn", torn, listed, path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ResumeError, match=r"lesions\.pt: damaged.*remove it"):
            Checkpoints(folder=tmp_path).made("lesions", torch.nn.Linear(1, 1), unreachable)


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    """The error names both files."""
    checkpoints(tmp_path, SETTINGS, resume=False)
    other = tmp_path / "other.toml"
    other.write_text(SETTINGS.read_text().replace("epochs = 12", "epochs = 13"))
    with pytest.raises(ResumeError, match=r"settings\.toml differs from .*other\.toml"):
        checkpoints(tmp_path, other, resume=True)


def test_what_comes_after_learning_may_change(tmp_path: Path) -> None:
    """Another pooling, weight or map resumes: no stage would learn anything else by it."""
    checkpoints(tmp_path, SETTINGS, resume=False)
    other = tmp_path / "other.toml"
    text = SETTINGS.read_text(encoding="utf-8")
    other.write_text(text.replace("border_penalty = 0.5", "border_penalty = 0.25"))
    assert other.read_text(encoding="utf-8") != text
    checkpoints(tmp_path, other, resume=True)
    assert "border_penalty = 0.25" in (tmp_path / "settings.toml").read_text(encoding="utf-8")


def test_what_comes_after_learning_are_tables_of_the_settings() -> None:
    """A table under another name would have to be learnt again unnoticed."""
    assert set(TABLES) > AFTER_LEARNING


def test_a_damaged_copy_of_the_settings_does_not_resume(tmp_path: Path) -> None:
    """The error names the copy and where it breaks off."""
    checkpoints(tmp_path, SETTINGS, resume=False)
    (tmp_path / "settings.toml").write_text("[recipe]\nspacing_mm = ")
    with pytest.raises(ResumeError, match=r"settings\.toml: Invalid value"):
        checkpoints(tmp_path, SETTINGS, resume=True)
