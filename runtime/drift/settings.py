"""The section `[drift]` of unit.toml: the unit's own baseline of what images look like."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from pydantic import BaseModel, ConfigDict, Field


class DriftSettings(BaseModel):
    """Used where the package's `reference.json` has no descriptors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baseline_images: int = Field(
        default=400, ge=50, le=100_000, description="how many images make the unit's own baseline"
    )
    baseline_since: date | None = Field(
        default=None,
        description="begin a new baseline with the images of that day (UTC): a scanner was changed",
    )

    @property
    def since_ms(self) -> int:
        """Midnight UTC of that day; 0 without one."""
        if self.baseline_since is None:
            return 0
        midnight = datetime.combine(self.baseline_since, time(), UTC)
        return int(midnight.timestamp() * 1000)
