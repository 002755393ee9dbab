"""A mammogram that has no DICOM file: of golden cases, and of PNG or JPEG files at the bench."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.image.header import ImageHeader, Laterality, PresentationIntent, View
from runtime.pixels.mammogram import Mammogram
from runtime.pixels.voi_lut import VoiWindow, WindowFunction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGITAL_MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
STATED = "stated"
"""As the source of what the caller says instead of a header."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BareImage:
    """Pixels and the few facts that stand in for a header."""

    pixels: NDArray[np.uint16]
    """rows x columns, 0 to 2**bits_stored-1."""
    bits_stored: int
    laterality: Laterality | None = None
    view: View | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    """(row, column) spacing."""
    monochrome1: bool = False
    film: bool = False
    window: VoiWindow | None = None
    """None: gray as stored, from 0 to 2**bits_stored-1."""

    def mammogram(self) -> Mammogram:
        """The same as the runtime's preparation takes it; `pixels` become read-only."""
        rows, columns = self.pixels.shape
        self.pixels.flags.writeable = False
        header = ImageHeader(
            sop_instance_uid="",
            sop_class_uid=SECONDARY_CAPTURE if self.film else DIGITAL_MAMMOGRAM,
            study_instance_uid="",
            transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
            modality="MG",
            laterality=self.laterality,
            laterality_source=STATED if self.laterality else "",
            view=self.view,
            view_source=STATED if self.view else "",
            modifiers=(),
            intent=PresentationIntent.FOR_PRESENTATION,
            intent_source=STATED,
            implant=False,
            implant_displaced=False,
            partial_view=False,
            tomosynthesis=False,
            quality_control=False,
            film=self.film,
            manufacturer="",
            rows=rows,
            columns=columns,
            frames=1,
            pixel_spacing_mm=self.pixel_spacing_mm,
            acquired_at="",
            pixel_spacing_source=STATED if self.pixel_spacing_mm else "",
        )
        return Mammogram(
            header=header,
            pixels=self.pixels,
            bits_stored=self.bits_stored,
            monochrome1=self.monochrome1,
            pixel_spacing_mm=self.pixel_spacing_mm,
            windows=(self.window or self._as_stored(),),
        )

    def _as_stored(self) -> VoiWindow:
        top = float(2**self.bits_stored - 1)
        # PS3.3 C.11.2.1.3.2: LINEAR_EXACT maps center -/+ width/2 to the ends of the range.
        return VoiWindow(center=top / 2, width=top, function=WindowFunction.LINEAR_EXACT)
