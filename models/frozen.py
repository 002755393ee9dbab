"""What every part of a package's JSON files is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every part of the manifest: immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
