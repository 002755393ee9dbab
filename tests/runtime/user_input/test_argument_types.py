"""Numbers that make no sense are refused by the command line itself."""

from __future__ import annotations

import pytest

from runtime.cli.main import main

BUILD = ("build", "m.onnx", "--recipe", "r.toml", "--calibration", "c", "-o", "out")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*BUILD, "--limit", "-3"), "--limit: must be 1 or more"),
        ((*BUILD, "--runs", "0"), "--runs: must be 1 or more"),
        ((*BUILD, "--margin", "nan"), "--margin: must be 0 to 1"),
        ((*BUILD, "--accept-loss", "-1"), "--accept-loss: must be 0 to 1"),
        ((*BUILD, "--pixel-spacing-mm", "-1"), "--pixel-spacing-mm: must be above 0"),
        (("benchmark", "p", "--threads", "0"), "--threads: must be 1 or more"),
        (("benchmark", "p", "--target-ms", "inf"), "--target-ms: must be above 0"),
        (("simulate-unit", "--to", "A@b:1", "--exams", "0"), "--exams: must be 1 or more"),
        (("simulate-unit", "--to", "A@b:1", "--retakes", "3"), "--retakes: must be 0 to 1"),
        (
            ("simulate-unit", "--to", "A@b:1", "--scale", "4"),
            "--scale: must be above 0 and at most",
        ),
        (
            ("simulate-unit", "--to", "A@b:1", "--exams-per-hour", "-1"),
            "--exams-per-hour: must be 0 or more",
        ),
    ],
)
def test_the_option_is_named_and_nothing_begins(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the option and what it takes: no trace, no work for nothing."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
