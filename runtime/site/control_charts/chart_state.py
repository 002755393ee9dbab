"""What a control chart remembers between two looks: stored as JSON beside its unit."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Measure(StrEnum):
    """What is charted: the share of a unit's final exams with that flag."""

    PRIORITY = "priority"
    NOT_ASSESSED = "not_assessed"


class ChartState(BaseModel):
    """A unit's chart of one measure, under one model at one operating point.

    The baseline is learnt from the first exams (phase I) and then stands still, so that a slow
    change is not learnt as normal. Times: ms since the epoch, UTC, on the site's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str = ""
    model_version: str = ""
    operating_point: str = ""
    since_ms: int = 0
    exams: int = 0
    """Charted so far under this model."""
    baseline_count: int = 0
    baseline_exams: int = 0
    baseline_rate: float | None = None
    """What is normal here, 0-1; None while too few exams are known and no package says."""
    up: int = 0
    """The CUSUM statistic for more; `down` for less."""
    up_since_ms: int | None = None
    """When it last left zero: the change began about then."""
    up_count: int = 0
    """Exams with the flag, of `up_exams`, since then."""
    up_exams: int = 0
    down: int = 0
    down_since_ms: int | None = None
    down_count: int = 0
    down_exams: int = 0
    block_count: int = 0
    block_exams: int = 0
    block_since_ms: int | None = None
    last_block_count: int = 0
    """Of the last complete block; 0 before the first."""
    last_block_ms: int | None = None
    """When that block began."""
    up_alarm: bool = False
    down_alarm: bool = False
    block_alarm: bool = False
