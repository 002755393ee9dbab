"""Prepared inputs on disk: three hundred of them do not fit into a small bench's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Tensors = Mapping[str, "NDArray[np.generic]"]


class TensorStore(Sequence[Tensors]):
    """Sets of input tensors, each a name -> array, in a scratch folder of the caller's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[tuple[str, ...]] = []

    @classmethod
    def reopened(cls, folder: Path, names: tuple[str, ...], sets: int) -> TensorStore:
        """What an earlier process wrote: `sets` sets of tensors of these names."""
        store = cls(folder)
        store._names = [names] * sets
        return store

    def append(self, tensors: Tensors) -> None:
        """Write one set."""
        for place, tensor in enumerate(tensors.values()):
            np.save(self._path(len(self._names), place), tensor)
        self._names.append(tuple(tensors))

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Tensors: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensors]: ...
    def __getitem__(self, index: int | slice) -> Tensors | Sequence[Tensors]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        names = self._names[index]
        number = index % len(self)
        return {
            name: np.load(self._path(number, place), allow_pickle=False)
            for place, name in enumerate(names)
        }

    def _path(self, number: int, place: int) -> Path:
        return self._folder / f"{number:06d}-{place}.npy"
