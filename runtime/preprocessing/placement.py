"""Where things go: crop boxes on the source, content on the canvas. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.breast_gate.breast import Box
from runtime.image.header import Laterality

if TYPE_CHECKING:
    from models.manifest import CropStep, OrientStep, ResizeStep
    from runtime.breast_gate.breast import Breast


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the resized content lies on its canvas, in pixels of the canvas."""

    top: int
    left: int
    rows: int
    columns: int
    shrunk_to_canvas: bool = False

    @classmethod
    def whole(cls, rows: int, columns: int) -> Placement:
        """Content that is its own canvas."""
        return cls(top=0, left=0, rows=rows, columns=columns)


def is_to_be_mirrored(
    step: OrientStep, laterality: Laterality | None, breast: Breast | None
) -> bool:
    """Does the nipple point away from where `step.facing` wants it?

    By laterality a right breast faces left (PS3.3 C.8.11.7.1.4). Where the content tells nothing
    laterality decides, and where that is unknown nothing is mirrored.
    """
    if step.facing == "none":
        return False
    if step.by == "content" and breast is not None:
        faces = "right" if breast.chest_wall == "left" else "left"
    elif laterality is not None:
        faces = "left" if laterality is Laterality.RIGHT else "right"
    else:
        return False
    return faces != step.facing


def crop_box(
    step: CropStep,
    whole: Box,
    breast: Breast | None,
    spacing_mm: tuple[float, float] | None,
    view: str | None = None,
) -> Box:
    """The part of `whole` to keep; all of it where no breast was found.

    `breast_box`: the breast's bounding box and the margins, clipped to the image.
    `best_center_window`: `height` x `width` pixels, rows centred on the breast's bounding box,
    columns from the breast's chest wall on; it may reach beyond the image. By `align: mlo_top` it
    begins at the top of a shorter breast in an MLO `view`.
    """
    if step.mode == "none" or breast is None:
        return whole
    box = breast.box
    if step.mode == "best_center_window":
        height, width = step.height or whole.rows, step.width or whole.columns
        from_the_top = step.align == "mlo_top" and view == "MLO" and box.rows < height
        top = box.top if from_the_top else (box.top + box.bottom - height) // 2
        left = box.left if breast.chest_wall == "left" else box.right - width
        return Box(top=top, left=left, bottom=top + height, right=left + width)
    if step.margin_mm and spacing_mm is None:
        raise ValueError("a margin in mm needs a pixel spacing")
    rows_mm, columns_mm = spacing_mm or (1.0, 1.0)
    down = step.margin_px + round(step.margin_mm / rows_mm)
    across = step.margin_px + round(step.margin_mm / columns_mm)
    return Box(
        top=max(whole.top, box.top - down),
        left=max(whole.left, box.left - across),
        bottom=min(whole.bottom, box.bottom + down),
        right=min(whole.right, box.right + across),
    )


def place(
    step: ResizeStep, rows: int, columns: int, spacing_mm: tuple[float, float] | None
) -> Placement:
    """Size and place of `rows` x `columns` of content on the canvas of `step`."""
    if step.mode == "squeeze":
        return Placement.whole(step.height, step.width)
    fitting = min(step.height / rows, step.width / columns)
    down = across = fitting
    shrunk = False
    if step.mode == "spacing_mm":
        if spacing_mm is None or step.spacing_mm is None:
            raise ValueError("resize to spacing_mm needs a pixel spacing")
        down, across = spacing_mm[0] / step.spacing_mm, spacing_mm[1] / step.spacing_mm
        too_large = min(step.height / (rows * down), step.width / (columns * across))
        if too_large < 1:
            down, across, shrunk = down * too_large, across * too_large, True
    height = min(step.height, max(1, round(rows * down)))
    width = min(step.width, max(1, round(columns * across)))
    centred = step.align == "center"
    return Placement(
        top=(step.height - height) // 2 if centred else 0,
        left=(step.width - width) // 2 if centred else 0,
        rows=height,
        columns=width,
        shrunk_to_canvas=shrunk,
    )
