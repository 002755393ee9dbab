"""The pictures of README can be drawn anew."""

from __future__ import annotations

import pytest

from tests.conftest import module_or_skip
from tests.support.browser import chromium

module_or_skip("sqlalchemy", "extra [site] is not installed")

from benches import pictures  # noqa: E402


@pytest.mark.parametrize(
    ("draw", "name"),
    [(pictures.console_picture, "console.png"), (pictures.fleet_picture, "fleet-page.png")],
)
def test_each_is_drawn_and_small_enough(draw, name, tmp_path, monkeypatch):
    """By the command's own functions, into another folder."""
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(pictures, "IMAGES", tmp_path / "images")
    with chromium() as browser:
        draw(browser, tmp_path)
    content = (tmp_path / "images" / name).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert 20_000 < len(content) < pictures.MOST_BYTES
