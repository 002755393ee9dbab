"""The section `[sparkplug]` of unit.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# One level of a topic (Eclipse Sparkplug 3.0.0, 4.1.1: no "/", "+", "#").
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$")]


class SparkplugSettings(BaseModel):
    """Whether the unit is an edge node as well; over the same broker, by a second connection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="be a Sparkplug B edge node as well")
    group: GroupName | None = Field(default=None, description="group id; else the site's name")
