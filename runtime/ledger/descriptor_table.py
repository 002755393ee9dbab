"""What images looked like, as the ledger keeps it: one row for each image that was described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.image.descriptors import ImageDescriptors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from runtime.image.outcome import ImageOutcome

DESCRIPTOR_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_descriptors (
    image_id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, descriptors TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS image_descriptors_by_time ON image_descriptors (at_ms);
"""
DESCRIPTORS = TypeAdapter(ImageDescriptors)


class DescriptorRows:
    """Row operations. Only a `LedgerTransaction` makes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, images: Iterable[ImageOutcome], at_ms: int) -> None:
        """Keeps the descriptors of images that have some; what an image looked like first stands.

        An image of a breast's or an exam's model is looked at again with each revision.
        """
        self._connection.executemany(
            "INSERT OR IGNORE INTO image_descriptors VALUES (?, ?, ?)",
            [
                (image.image_id, at_ms, DESCRIPTORS.dump_json(image.descriptors).decode())
                for image in images
                if image.descriptors is not None
            ],
        )

    def between(self, start_ms: int, end_ms: int) -> list[ImageDescriptors]:
        """Those of the images that were described in that time."""
        rows = self._connection.execute(
            "SELECT descriptors FROM image_descriptors WHERE at_ms >= ? AND at_ms < ?",
            (start_ms, end_ms),
        )
        return [DESCRIPTORS.validate_json(text) for (text,) in rows]

    def first(self, limit: int, since_ms: int) -> list[ImageDescriptors]:
        """Those of the first `limit` images from then on."""
        rows = self._connection.execute(
            "SELECT descriptors FROM image_descriptors WHERE at_ms >= ?"
            " ORDER BY at_ms, image_id LIMIT ?",
            (since_ms, limit),
        )
        return [DESCRIPTORS.validate_json(text) for (text,) in rows]
