"""The site's register: what its authority has signed, and what it took back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runtime.messages.topics import SITE_SERVICE, SiteName
from runtime.site_trust.authority import CertificateRole, Revocation

if TYPE_CHECKING:
    from runtime.site_trust.authority import KeyPair

BROKER_NAME = "_broker"
"""How the broker's certificate is called in commands; like `_site` it can be no unit's name."""


def _host(text: str) -> str:
    if not text.isascii() or any(c in text for c in " \t\r\n/\\\"'#"):
        raise ValueError("must be a host name or an IP address")
    return text


Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_host)]


class RegisterPart(BaseModel):
    """A part of the register: immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(RegisterPart):
    """A certificate that was signed."""

    role: CertificateRole
    name: str
    serial: str
    ends_at: datetime
    revoked_at: datetime | None = None
    replaced: bool = Field(default=False, description="renewed since; counts until it ends")

    @property
    def in_use(self) -> bool:
        """Whether this is the certificate that its holder is meant to show."""
        return self.revoked_at is None and not self.replaced


class Register(RegisterPart):
    """site.json: the site, its broker and every certificate, oldest first."""

    version: Literal[1] = 1
    site: SiteName
    hosts: tuple[Host, ...] = Field(min_length=1, description="names of the broker, first ours")
    entries: tuple[Entry, ...] = ()

    def current(self, name: str) -> Entry | None:
        """The certificate that `name` is meant to show now."""
        return next((e for e in reversed(self.entries) if e.name == name and e.in_use), None)

    def in_use(self) -> list[Entry]:
        """Every holder's certificate."""
        return [entry for entry in self.entries if entry.in_use]

    def ending(self, now: datetime, within_days: int) -> list[Entry]:
        """The certificates in use that end within that time."""
        return [e for e in self.in_use() if e.ends_at <= now + timedelta(days=within_days)]

    def with_pair(self, role: CertificateRole, name: str, pair: KeyPair) -> Register:
        """With a new certificate; the one that `name` had is replaced."""
        entry = Entry(role=role, name=name, serial=pair.serial, ends_at=pair.ends_at)
        older = tuple(
            e.model_copy(update={"replaced": True}) if e.name == name and e.in_use else e
            for e in self.entries
        )
        return self.model_copy(update={"entries": (*older, entry)})

    def revoke(self, name: str, now: datetime) -> Register:
        """Nothing that `name` was ever given counts any more."""
        entries = tuple(
            e.model_copy(update={"revoked_at": now})
            if e.name == name and e.revoked_at is None
            else e
            for e in self.entries
        )
        return self.model_copy(update={"entries": entries})

    def revocations(self) -> list[Revocation]:
        """What the revocation list must name."""
        return [
            Revocation(serial=entry.serial, revoked_at=entry.revoked_at)
            for entry in self.entries
            if entry.revoked_at is not None
        ]


def role_of(name: str) -> CertificateRole:
    """`_broker`, `_site`, or a unit."""
    return {BROKER_NAME: CertificateRole.BROKER, SITE_SERVICE: CertificateRole.SITE}.get(
        name, CertificateRole.UNIT
    )
