"""A durable image of an exam, as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.exam_rules.exam_flag import Role
    from runtime.image.header import ImageHeader


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """A durable object."""

    image_id: int
    study_uid: str
    header: ImageHeader
    path: str
    size_bytes: int
    role: Role
    received_at_ms: int
    conflicts_with: int | None
