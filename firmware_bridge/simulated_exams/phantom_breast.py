"""A breast that nobody has: what a compressed breast with lesions of known place does to X-rays.

For plumbing, load and quality control. It is no model of anatomy, and no score of a network on it
means anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

# Linear attenuation at 20 keV, 1/mm, after Johns and Yaffe (Phys Med Biol 32:675, 1987), rounded:
# adipose, fibroglandular, infiltrating ductal carcinoma.
ADIPOSE_PER_MM, GLANDULAR_PER_MM, TUMOUR_PER_MM = 0.0456, 0.0802, 0.0844
MUSCLE_PER_MM = 0.082
SPECK_PER_MM = 0.93
"""Aluminium, of which the specks of test phantoms are made."""
QUANTA_PER_MM2 = 4.0e6
"""At the detector without a breast; behind one some 1e5 are left."""
GRID_MM = 0.5
"""Tissue is drawn on this grid; specks and noise on the detector's own."""
TISSUE_SPECTRUM = 3.0
"""Anatomic noise falls off with about the third power of frequency (Burgess, Med Phys 2001)."""
SKIN_MM = 4.0


@dataclass(frozen=True, kw_only=True)
class DetectorArea:
    """The sensitive area."""

    rows: int
    columns: int
    pixel_spacing_mm: float

    def scaled(self, factor: float) -> DetectorArea:
        """The same area with fewer, larger pixels: small files for load and plumbing."""
        return DetectorArea(
            rows=max(64, round(self.rows * factor)),
            columns=max(64, round(self.columns * factor)),
            pixel_spacing_mm=round(self.pixel_spacing_mm / factor, 5),  # DS: 16 characters
        )


@dataclass(frozen=True, kw_only=True)
class DrawnLesion:
    """Where something was put: mm below the middle of the chest wall, and away from it."""

    kind: str
    """`mass`, or `calcifications`."""
    down_mm: float
    out_mm: float
    radius_mm: float

    def place(self, detector: DetectorArea, laterality: str) -> tuple[float, float, float]:
        """Row, column and radius in pixels of the stored image."""
        spacing = detector.pixel_spacing_mm
        column = self.out_mm / spacing
        if laterality == "R":
            column = detector.columns - 1 - column
        return detector.rows / 2 + self.down_mm / spacing, column, self.radius_mm / spacing


@dataclass(frozen=True, kw_only=True)
class DetectorCounts:
    """What the detector counted, chest wall where the laterality has it."""

    quanta: NDArray[np.float32]
    """rows x columns, for each pixel."""
    thickness_mm: NDArray[np.float32]
    """rows x columns; 0 in air."""
    quanta_in_air: float
    compressed_mm: float


@dataclass(frozen=True, kw_only=True)
class PhantomBreast:
    """One compressed breast. The same fields give the same exposure.

    Attributes:
        laterality: R or L.
        view: CC or MLO (with a pectoral muscle).
        density: share of glandular tissue, 0-1.
        compressed_mm: thickness between the paddles.
        masses: how many, of 4 to 9 mm radius.
        clusters: of calcifications, how many.
        seed: of everything that is drawn.
    """

    laterality: str
    view: str
    density: float = 0.35
    compressed_mm: float = 50.0
    masses: int = 0
    clusters: int = 0
    seed: int = 0

    def lesions(self, detector: DetectorArea) -> tuple[DrawnLesion, ...]:
        """The lesions and their places, within the breast."""
        draw = np.random.default_rng([self.seed, 1])
        half_height_mm, reach_mm = self._extent(detector)
        kinds = [("mass", 4.0, 9.0)] * self.masses + [("calcifications", 3.0, 6.0)] * self.clusters
        found = []
        for kind, smallest_mm, largest_mm in kinds:
            angle, radius = draw.uniform(-1.1, 1.1), draw.uniform(0.3, 0.65)
            found.append(
                DrawnLesion(
                    kind=kind,
                    down_mm=half_height_mm * radius * math.sin(angle),
                    out_mm=reach_mm * radius * math.cos(angle),
                    radius_mm=draw.uniform(smallest_mm, largest_mm),
                )
            )
        return tuple(found)

    def expose(self, detector: DetectorArea) -> DetectorCounts:
        """Counts of quanta behind the breast, with Poisson noise."""
        thickness_mm, path = self._tissue(detector)
        size = (detector.columns, detector.rows)
        full_path = cv2.resize(path, size, interpolation=cv2.INTER_LINEAR)
        full_thickness = cv2.resize(thickness_mm, size, interpolation=cv2.INTER_LINEAR)
        self._add_specks(full_path, detector)
        in_air = QUANTA_PER_MM2 * detector.pixel_spacing_mm**2
        quanta = in_air * np.exp(-full_path)
        # Above some tens of quanta Poisson's distribution is a normal one.
        noise = np.random.default_rng([self.seed, 2]).standard_normal(
            quanta.shape, dtype=np.float32
        )
        quanta += np.sqrt(quanta) * noise
        np.maximum(quanta, 1.0, out=quanta)
        if self.laterality == "R":
            quanta = np.ascontiguousarray(quanta[:, ::-1])
            full_thickness = np.ascontiguousarray(full_thickness[:, ::-1])
        return DetectorCounts(
            quanta=quanta,
            thickness_mm=full_thickness,
            quanta_in_air=in_air,
            compressed_mm=self.compressed_mm,
        )

    def _extent(self, detector: DetectorArea) -> tuple[float, float]:
        """Half the height along the chest wall, and the reach from it, mm."""
        draw = np.random.default_rng([self.seed, 0])
        height_mm = detector.rows * detector.pixel_spacing_mm
        width_mm = detector.columns * detector.pixel_spacing_mm
        half_height_mm = min(95.0, 0.46 * height_mm) * draw.uniform(0.85, 1.0)
        return half_height_mm, min(115.0, 0.8 * width_mm) * draw.uniform(0.75, 1.0)

    def _tissue(self, detector: DetectorArea) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Thickness (mm) and attenuation along the beam, on the grid; chest wall at the left."""
        rows = round(detector.rows * detector.pixel_spacing_mm / GRID_MM)
        columns = round(detector.columns * detector.pixel_spacing_mm / GRID_MM)
        half_height_mm, reach_mm = self._extent(detector)
        down = ((np.arange(rows) - rows / 2) * GRID_MM)[:, None].astype(np.float32)
        out = (np.arange(columns) * GRID_MM)[None, :].astype(np.float32)
        inside = (down / half_height_mm) ** 2 + (out / reach_mm) ** 2 < 1.0
        # The chest wall is no edge of the breast: mirrored, it lies in the middle.
        mirrored = np.hstack([inside[:, ::-1], inside]).astype(np.uint8)
        from_skin_mm = cv2.distanceTransform(mirrored, cv2.DIST_L2, 5)[:, columns:] * GRID_MM
        # Between the paddles the rim bulges as half a circle.
        rim = np.clip(1.0 - from_skin_mm / (self.compressed_mm / 2), 0.0, 1.0)
        thickness_mm = np.where(inside, self.compressed_mm * np.sqrt(1.0 - rim**2), 0.0)
        gland = self._glandular_share((rows, columns), from_skin_mm)
        per_mm = ADIPOSE_PER_MM + gland * (GLANDULAR_PER_MM - ADIPOSE_PER_MM)
        if self.view == "MLO":
            muscle = inside & (out * 1.6 + (down + half_height_mm) * 0.7 < 0.9 * reach_mm)
            per_mm = np.where(muscle, MUSCLE_PER_MM, per_mm)
        path = per_mm * thickness_mm
        for lesion in self.lesions(detector):
            if lesion.kind == "mass":
                apart_mm = np.hypot(down - lesion.down_mm, out - lesion.out_mm)
                chord_mm = 2 * np.sqrt(np.clip(lesion.radius_mm**2 - apart_mm**2, 0.0, None))
                path += np.minimum(chord_mm, thickness_mm) * (TUMOUR_PER_MM - ADIPOSE_PER_MM)
        return thickness_mm.astype(np.float32), path.astype(np.float32)

    def _glandular_share(
        self, shape: tuple[int, int], from_skin_mm: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Power-law noise around the density; fat below the skin, gland towards the nipple."""
        draw = np.random.default_rng([self.seed, 3])
        rows, columns = shape
        frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(draw.standard_normal(shape)) / frequency ** (TISSUE_SPECTRUM / 2)
        field = np.fft.irfft2(spectrum, shape)
        field /= field.std()
        depth = np.clip((from_skin_mm - SKIN_MM) / (3 * SKIN_MM), 0.0, 1.0)
        share: NDArray[np.float32] = np.clip(self.density + 0.25 * field, 0.0, 1.0) * depth
        return share.astype(np.float32)

    def _add_specks(self, path: NDArray[np.float32], detector: DetectorArea) -> None:
        """Calcifications: specks of 0.1 to 0.3 mm radius, 8 to 20 to a cluster."""
        draw: Generator = np.random.default_rng([self.seed, 4])
        spacing = detector.pixel_spacing_mm
        for lesion in self.lesions(detector):
            if lesion.kind != "calcifications":
                continue
            row, column, radius = lesion.place(detector, "L")
            for _ in range(int(draw.integers(8, 21))):
                angle, apart = draw.uniform(0, 2 * math.pi), radius * math.sqrt(draw.uniform(0, 1))
                _add_sphere(
                    path,
                    centre=(row + apart * math.sin(angle), column + apart * math.cos(angle)),
                    radius_mm=draw.uniform(0.1, 0.3),
                    spacing_mm=spacing,
                )


def _add_sphere(
    path: NDArray[np.float32], *, centre: tuple[float, float], radius_mm: float, spacing_mm: float
) -> None:
    """Adds one speck; a speck smaller than a pixel is spread over it."""
    reach = max(1, math.ceil(radius_mm / spacing_mm))
    row, column = round(centre[0]), round(centre[1])
    top, left = max(0, row - reach), max(0, column - reach)
    patch = path[top : row + reach + 1, left : column + reach + 1]
    y, x = np.mgrid[top : top + patch.shape[0], left : left + patch.shape[1]].astype(np.float32)
    apart_mm = np.hypot(y - centre[0], x - centre[1]) * spacing_mm
    chord_mm = 2 * np.sqrt(np.clip(radius_mm**2 - apart_mm**2, 0.0, None))
    if radius_mm < spacing_mm:
        volume_mm3 = 4 / 3 * math.pi * radius_mm**3
        chord_mm = np.where(apart_mm < spacing_mm / 2, volume_mm3 / spacing_mm**2, 0.0)
    patch += SPECK_PER_MM * chord_mm
