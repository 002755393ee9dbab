"""Synthetic mammograms: for golden cases that must ship, and for tests. No patient is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A half ellipse of breast at one side of black air, with tissue texture and one lesion."""

    rows: int = 448
    columns: int = 320
    pixel_spacing_mm: float = 0.25
    laterality: str = "L"
    bits_stored: int = 12
    lesion: bool = True
    seed: int = 1

    def pixels(self) -> NDArray[np.uint16]:
        """Stored values, MONOCHROME2, rows x columns. The same seed gives the same values.

        Sums of sines, not a random field: the same on every processor and NumPy version.
        """
        y, x = np.mgrid[0 : self.rows, 0 : self.columns].astype(np.float64)
        down = (y - self.rows / 2) / (0.46 * self.rows)
        out = x / (0.85 * self.columns)
        inside = 1.0 - down**2 - out**2
        tissue = 0.45 + 0.25 * np.sqrt(np.clip(inside, 0.0, None))
        for k in range(1, 7):
            phase = self.seed * 1.7 * k
            tissue += 0.10 / k * np.sin(0.021 * k * x + phase) * np.cos(0.017 * k * y + phase / 2)
        for waves in (23, 31, 41):
            # About 1 mm of a breast's 25 cm: the unit's gate takes no body without tissue.
            phase, angle = self.seed * 0.9 * waves, 2 * np.pi * waves / self.rows
            tissue += 0.02 * np.sin(angle * x + phase) * np.cos(1.2 * angle * y + phase / 2)
        if self.lesion:
            apart = np.hypot(y - 0.4 * self.rows, x - 0.35 * self.columns)
            radius = 6.0 / self.pixel_spacing_mm
            tissue += 0.22 / (1.0 + np.exp((apart - radius) / (0.1 * radius)))
        values = np.where(inside > 0.0, np.clip(tissue, 0.15, 0.95), 0.0)
        if self.laterality == "R":
            # A right breast is displayed facing left: chest wall at the right (PS3.3 C.8.11.7).
            values = values[:, ::-1]
        top = 2**self.bits_stored - 1
        return np.ascontiguousarray(np.rint(values * top).astype(np.uint16))
