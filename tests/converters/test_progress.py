"""How far a long command is: also where nobody looks at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.progress import progress_bar

if TYPE_CHECKING:
    import pytest


def test_without_a_terminal_a_line_comes_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the time that is left; the last one always."""
    now = 0.0
    say = progress_bar("verify", 12, clock=lambda: now)
    for done in range(1, 13):
        now += 4.0
        say(done)
    assert capsys.readouterr().err.splitlines() == [
        "verify: 3/12 images, 36 s left",
        "verify: 6/12 images, 24 s left",
        "verify: 9/12 images, 12 s left",
        "verify: 12/12 images",
    ]
