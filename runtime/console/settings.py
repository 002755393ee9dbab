"""The section `[console]` of unit.toml: who may look, and at what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.dicom.patient_identity import IdentityField
from runtime.mqtt.settings import LOOPBACK
from runtime.user_input.settings_section import IpAddress
from runtime.web.languages import Language

DETECTION_AID = "detection aid, 21 CFR 892.2070; no longer triage, 21 CFR 892.2080"
"""What a site writes as `evidence_page`: a page that marks places is another class of device."""


class ConsoleSettings(BaseModel):
    """The page. Paths may be relative to unit.toml. Without the section there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="serve the page at all")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        max_length=253,
        description="address to listen at; beyond this machine only with TLS and a token",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="0: any free one; the log says")
    language: Language = Field(default="en", description="of who has chosen none")
    identity: tuple[IdentityField, ...] = Field(
        default=tuple(IdentityField), description="what of an identity the page may show"
    )
    previews: bool = Field(
        default=True, description="keep small pictures of images, marked as not for diagnosis"
    )
    unacknowledged_after_s: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="a priority flag that nobody has seen for so long is an event",
    )
    sound: bool = Field(default=False, description="offer a sound for new priority flags")
    evidence_page: (
        Literal["detection aid, 21 CFR 892.2070; no longer triage, 21 CFR 892.2080"] | None
    ) = Field(
        default=None,
        description="off unless a site accepts in these words what it becomes by it",
    )
    certificate_file: Path | None = Field(default=None, description="PEM, with its chain")
    key_file: Path | None = Field(default=None, description="its private key, PEM, no passphrase")
    trusted_proxies: tuple[IpAddress, ...] = Field(
        default=(),
        description="addresses of reverse proxies whose X-Forwarded-For is believed; nobody else's",
    )
    token_file: Path | None = Field(default=None, description="one line, at least 32 characters")

    @model_validator(mode="after")
    def _safe_beyond_this_machine(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.host not in LOOPBACK and not (self.certificate_file and self.token_file):
            raise ValueError(
                "beyond this machine only with certificate_file, key_file and token_file: the"
                " page shows whom an exam belongs to"
            )
        return self

    @property
    def shown_identity(self) -> frozenset[IdentityField]:
        """What is kept of an identity at all: nothing where no page shows it."""
        return frozenset(self.identity) if self.enabled else frozenset()
