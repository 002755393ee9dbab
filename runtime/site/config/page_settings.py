"""The section `[page]` of the site's settings: who may look at the fleet, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import OperatorError
from runtime.mqtt.settings import LOOPBACK
from runtime.user_input.settings_section import IpAddress
from runtime.web.languages import Language

EVERYBODY = "*"


class OpenIdSettings(BaseModel):
    """An OpenID Connect provider that says who somebody is. Paths relative to the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=512)] = Field(
        description="the provider's address"
    )
    client_id: str = Field(min_length=1, max_length=256, description="as the provider knows us")
    client_secret_file: Path | None = Field(default=None, description="without: a public client")
    scopes: tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")], ...] = Field(
        default=("openid", "email"), description="what is asked for; must name openid"
    )
    claim: str = Field(default="email", description="what `allowed` names, in the ID token")
    allowed: tuple[str, ...] = Field(
        min_length=1, description='values of the claim; "*": whoever the provider vouches for'
    )
    ca_file: Path | None = Field(default=None, description="authorities that vouch for the issuer")

    @model_validator(mode="after")
    def _asks_for_an_identity(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes must name openid")
        if not self.issuer.startswith("https://") and _host_of(self.issuer) not in LOOPBACK:
            raise ValueError("issuer must be https:// beyond this machine")
        return self


class PageSettings(BaseModel):
    """The fleet page. Paths may be relative to the settings' file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="serve the page")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        max_length=253,
        description="address to listen at; beyond this machine only with TLS and sign-in",
    )
    port: int = Field(default=8090, ge=0, le=65535, description="0: any free one; the log says")
    address: Annotated[str, Field(pattern=r"^https?://[^/\s?#]+$")] | None = Field(
        default=None, description="how browsers reach it; OpenID Connect leads back there"
    )
    language: Language = Field(default="en", description="of who has chosen none")
    certificate_file: Path | None = Field(default=None, description="PEM, with its chain")
    key_file: Path | None = Field(default=None, description="its private key, PEM, no passphrase")
    trusted_proxies: tuple[IpAddress, ...] = Field(
        default=(),
        description="addresses of reverse proxies whose X-Forwarded-For is believed; nobody else's",
    )
    password_file: Path | None = Field(
        default=None, description="made by `mammoedge site password`"
    )
    openid: OpenIdSettings | None = Field(default=None, description="sign-in by a provider")
    session_hours: float = Field(default=10.0, gt=0, le=168, description="then one signs in again")

    @property
    def asks_who(self) -> bool:
        """Whether one has to sign in."""
        return self.password_file is not None or self.openid is not None

    @model_validator(mode="after")
    def _safe_beyond_this_machine(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.host not in LOOPBACK and not (self.certificate_file and self.asks_who):
            raise ValueError(
                "beyond this machine only with certificate_file, key_file, and either"
                " password_file or openid"
            )
        if self.openid and self.address is None:
            raise ValueError("openid needs address: where the provider leads back to")
        plain = (self.address or "").startswith("http://")
        if plain and _host_of(self.address or "") not in LOOPBACK:
            raise ValueError("address must be https:// beyond this machine")
        return self


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


class CredentialsError(OperatorError):
    """A file of passwords or a secret cannot be read or written, or is refused; says why."""
