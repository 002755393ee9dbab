"""The section `[broker]` of unit.toml: where flags go, and how we prove who we are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]


class BrokerSettings(BaseModel):
    """How to reach the site's broker. Paths may be relative to unit.toml.

    `tls` verifies the broker's certificate and its name (`host`), TLS 1.2 or later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        min_length=1, max_length=253, description="name or address; its certificate must bear it"
    )
    port: int = Field(
        default=8883, ge=1, le=65535, description="8883 with TLS, usually 1883 without"
    )
    tls: bool = Field(
        default=True, description="verify the broker's certificate and its name, TLS 1.2 or later"
    )
    ca_file: Path | None = Field(
        default=None, description="authorities that may vouch for the broker; else the system's"
    )
    certificate_file: Path | None = Field(default=None, description="our certificate, PEM")
    key_file: Path | None = Field(default=None, description="its private key, PEM, no passphrase")
    username: str | None = Field(
        default=None, min_length=1, max_length=256, description="where the broker asks for one"
    )
    password_file: Path | None = Field(default=None, description="its password, one line")
    keepalive_s: int = Field(
        default=15,
        ge=5,
        le=3600,
        description="a silent connection is noticed after one and a half times that",
    )
    connect_timeout_s: Seconds = Field(
        default=5.0, description="for connection, TLS and the broker's answer"
    )
    # Shortest and longest pause between attempts; the pause doubles, and is drawn at random.
    backoff_first_s: Seconds = Field(
        default=0.5, description="shortest pause between attempts; doubles, drawn at random"
    )
    backoff_longest_s: Seconds = Field(default=30.0, description="longest pause between attempts")
    in_flight: int = Field(default=100, ge=1, le=1000, description="unacknowledged rows at most")
    refusal_backoff_s: Seconds = Field(
        default=5.0, description="pause before a refused row is tried again; doubles"
    )
    health_interval_s: Seconds = Field(default=30.0, description="how often a unit says `health`")
    stop_timeout_s: Seconds = Field(default=2.0, description="for the last `status` at a stop")

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            raise ValueError("ca_file, certificate_file and key_file need tls = true")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        if self.username is not None and not self.tls and self.host not in LOOPBACK:
            raise ValueError("a password is sent in clear without tls: only to this machine")
        if self.backoff_longest_s < self.backoff_first_s:
            raise ValueError("backoff_longest_s must not be below backoff_first_s")
        return self


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
