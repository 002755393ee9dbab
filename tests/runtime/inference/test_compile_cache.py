"""The model cache survives what a power cut does to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.inference.compile_cache import discard_torn_blobs, list_blobs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with two listed blobs."""
    for name in ("1.blob", "2.blob"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    list_blobs(tmp_path)
    return tmp_path


def test_whole_blobs_stay(cache: Path) -> None:
    """A warm start keeps its cache."""
    assert discard_torn_blobs(cache) == ()
    assert len(list(cache.glob("*.blob"))) == 2


def test_a_torn_blob_is_deleted_and_only_that(cache: Path) -> None:
    """Shortened or overwritten, it never reaches OpenVINO."""
    (cache / "1.blob").write_bytes(b"1.blob" * 50)
    assert discard_torn_blobs(cache) == ("1.blob",)
    assert [path.name for path in cache.glob("*.blob")] == ["2.blob"]


def test_a_blob_that_was_never_listed_is_deleted(cache: Path) -> None:
    """The power went before it was complete."""
    (cache / "3.blob").write_bytes(b"half of")
    assert discard_torn_blobs(cache) == ("3.blob",)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_torn_list_costs_the_cache_and_nothing_else(cache: Path, content: bytes) -> None:
    """Everything is compiled again."""
    (cache / "blobs.json").write_bytes(content)
    assert len(discard_torn_blobs(cache)) == 2


def test_a_cache_that_does_not_exist_yet_is_made(tmp_path: Path) -> None:
    """The first start of a unit."""
    assert discard_torn_blobs(tmp_path / "new" / "cache") == ()
    assert (tmp_path / "new" / "cache").is_dir()


def test_a_disk_that_takes_no_list_is_survived(cache: Path) -> None:
    """A blob that is not listed is compiled again; that is all."""
    (cache / "3.blob").write_bytes(b"new")
    (cache / "blobs.json").unlink()
    (cache / "blobs.json").mkdir()
    assert list_blobs(cache) is False
    assert [path.name for path in cache.iterdir() if path.suffix not in (".blob", ".json")] == []
