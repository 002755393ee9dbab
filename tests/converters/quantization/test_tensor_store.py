"""Prepared inputs wait on disk and come back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.quantization.tensor_store import TensorStore

if TYPE_CHECKING:
    from pathlib import Path


def test_sets_come_back_in_order_with_their_names(tmp_path: Path) -> None:
    """By index from either end, by slice, and by iteration, as often as one likes."""
    store = TensorStore(tmp_path)
    for number in range(3):
        store.append({"cc": np.full((1, 2), number, np.float32), "mlo": np.zeros(3, np.uint16)})
    assert [item["cc"].max() for item in store] == [0, 1, 2]
    assert [item["cc"].max() for item in store] == [0, 1, 2]
    assert store[-1]["cc"].max() == 2
    assert [item["cc"].max() for item in store[1:]] == [1, 2]
    assert store[0]["mlo"].dtype == np.uint16


def test_there_is_an_end(tmp_path: Path) -> None:
    """NNCF and others iterate until IndexError."""
    with pytest.raises(IndexError):
        TensorStore(tmp_path)[0]
