"""The section `[intake.frames]` of unit.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MEBIBYTE = 1 << 20

# A user's name (useradd(8)) or number.
User = Annotated[str, Field(pattern=r"^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$")]


class FrameIntakeSettings(BaseModel):
    """Where the socket is, who may use it, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    socket: Path = Field(description="at most 107 bytes long (unix(7)); its folder is made")
    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$")] = Field(
        default="0660", description="of the socket, octal"
    )
    group: User | None = Field(default=None, description="the socket's group; None: our own")
    users: tuple[User, ...] = Field(
        default=(), description="who may connect, by SO_PEERCRED; empty: the service's own user"
    )
    max_connections: int = Field(default=8, ge=1, le=64, description="at once; more are refused")
    max_in_flight: int = Field(
        default=4, ge=1, le=32, description="frames of one connection that may be unanswered"
    )
    max_frame_mib: int = Field(default=256, ge=1, le=2048, description="a larger frame is refused")
    heartbeat_s: float = Field(
        default=5.0, gt=0, le=3600, description="we say something so often; silence of three ends"
    )
    send_timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="a peer that does not read for so long is cut off"
    )
    retry_after_ms: int = Field(
        default=250, ge=1, description="what a busy answer says; four times that if out of room"
    )
    connects_at_once: int = Field(default=5, ge=1, description="of one process, then")
    connects_per_s: float = Field(default=1.0, gt=0, description="so many; more are refused")
    drain_timeout_s: float = Field(
        default=5.0, ge=0, description="how long frames may take to finish at a stop"
    )

    @property
    def max_frame_bytes(self) -> int:
        """The largest frame that is taken."""
        return self.max_frame_mib * MEBIBYTE
