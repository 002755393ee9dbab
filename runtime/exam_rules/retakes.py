"""Which image stands in the place of a rejected one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.exam_rules.exam_flag import ExamImage


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An image that the unit rejected, and the retake that it named, if it named one."""

    sop_uid: str
    retake_uid: str | None


def retakes(
    images: Sequence[ExamImage], rejections: Mapping[str, Rejection]
) -> list[tuple[int, int]]:
    """(image_id of the rejected, image_id of its retake) for each pair that is not on record yet.

    The unit's rejection alone makes an image a rejected one: two images of one view without it
    are both of the exam. Where the unit names the retake it is that image; else the first later
    image of the same view, of the same role, that is not rejected itself.

    Args:
        images: the exam's images, oldest first.
        rejections: what the unit rejected, by SOP Instance UID.
    """
    pairs = []
    for image in images:
        rejection = rejections.get(image.sop_instance_uid)
        if rejection is None or image.role is Role.SUPERSEDED:
            continue
        for other in images:
            if other.sop_instance_uid in rejections or other.image_id == image.image_id:
                continue
            if rejection.retake_uid is not None:
                stands_in = other.sop_instance_uid == rejection.retake_uid
            else:
                stands_in = (
                    other.image_id > image.image_id
                    and other.view_code == image.view_code
                    and other.role is image.role
                )
            if stands_in:
                pairs.append((image.image_id, other.image_id))
                break
    return pairs
