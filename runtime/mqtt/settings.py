"""The section `[broker]` of unit.toml: where flags go, and how we prove who we are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]


class BrokerAddress(NamedTuple):
    """One way to the broker."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ProxyAddress(NamedTuple):
    """What stands between us and the broker. `kind`: http (CONNECT) or socks5."""

    kind: str
    host: str
    port: int
    username: str | None


PROXY_PORTS = {"http": 3128, "socks5": 1080}
PROXY_FORM = "http://[USER@]HOST[:PORT] or socks5://[USER@]HOST[:PORT]"


class BrokerSettings(BaseModel):
    """How to reach the site's broker. Paths may be relative to unit.toml.

    `tls` verifies the broker's certificate and its name (`host`), TLS 1.2 or later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        min_length=1, max_length=253, description="name or address; its certificate must bear it"
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        max_length=8,
        description="in place of host: several ways to it, NAME or NAME:PORT, the best first",
    )
    port: int = Field(
        default=8883, ge=1, le=65535, description="8883 with TLS, usually 1883 without"
    )
    tls: bool = Field(
        default=True, description="verify the broker's certificate and its name, TLS 1.2 or later"
    )
    transport: Literal["tcp", "websockets"] = Field(
        default="tcp", description="websockets where only a web port is open; secure ones with tls"
    )
    path: str = Field(
        default="/mqtt", pattern=r"^/[!-~]*$", description="of the address, with websockets"
    )
    proxy: str | None = Field(default=None, description=PROXY_FORM)
    proxy_password_file: Path | None = Field(
        default=None, description="the password for the proxy's USER, one line"
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

    @model_validator(mode="before")
    @classmethod
    def _first_of_hosts(cls, given: Any) -> Any:
        """`host` and `port` are those of the first address."""
        if not isinstance(given, dict) or not given.get("hosts"):
            return given
        if "host" in given:
            raise ValueError("host or hosts, not both")
        hosts = given["hosts"]
        if not isinstance(hosts, list | tuple) or not isinstance(hosts[0], str):
            return given | {"host": "?"}
        first = parse_address(hosts[0], given.get("port", cls.model_fields["port"].default))
        return given | {"host": first.host, "port": first.port}

    @field_validator("host")
    @classmethod
    def _name_only(cls, host: str) -> str:
        _check_name(host)
        return host

    @field_validator("proxy")
    @classmethod
    def _known_proxy(cls, proxy: str | None) -> str | None:
        if proxy is not None:
            parse_proxy(proxy)
        return proxy

    @property
    def addresses(self) -> tuple[BrokerAddress, ...]:
        """All ways to the broker, the best first."""
        if not self.hosts:
            return (BrokerAddress(self.host, self.port),)
        return tuple(parse_address(host, self.port) for host in self.hosts)

    @property
    def proxy_address(self) -> ProxyAddress | None:
        """The proxy, None if there is none."""
        return None if self.proxy is None else parse_proxy(self.proxy)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        addresses = self.addresses
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            raise ValueError("ca_file, certificate_file and key_file need tls = true")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        elsewhere = any(address.host not in LOOPBACK for address in addresses)
        if self.username is not None and not self.tls and elsewhere:
            raise ValueError("a password is sent in clear without tls: only to this machine")
        if self.backoff_longest_s < self.backoff_first_s:
            raise ValueError("backoff_longest_s must not be below backoff_first_s")
        proxy = self.proxy_address
        if self.proxy_password_file is not None and (proxy is None or proxy.username is None):
            raise ValueError("proxy_password_file needs a USER in proxy")
        return self


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def parse_address(text: str, default_port: int) -> BrokerAddress:
    """NAME, NAME:PORT, [V6] or [V6]:PORT. Raises ValueError."""
    _check_name(text)
    bare_v6 = text.count(":") > 1 and not text.startswith("[")
    parts = urlsplit(f"//[{text}]" if bare_v6 else f"//{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text}: the port is no number from 1 to 65535") from error
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"{text}: is no NAME or NAME:PORT")
    return BrokerAddress(parts.hostname, port or default_port)


def parse_proxy(text: str) -> ProxyAddress:
    """`PROXY_FORM`. Raises ValueError; a password in it is refused, and not repeated."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"proxy: write {PROXY_FORM}") from error
    if parts.password is not None:
        raise ValueError("proxy: the password belongs into proxy_password_file")
    if parts.scheme not in PROXY_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"proxy: write {PROXY_FORM}")
    port = port or PROXY_PORTS[parts.scheme]
    return ProxyAddress(parts.scheme, parts.hostname, port, parts.username)


def _check_name(text: str) -> None:
    if "://" in text:
        raise ValueError(_instead_of_url(text))
    if "/" in text or any(c.isspace() for c in text):
        raise ValueError("a host is a name or an address, without path and spaces")


def _instead_of_url(text: str) -> str:
    """What to write in place of a URL."""
    parts = urlsplit(text)
    web = parts.scheme in ("ws", "wss")
    wanted = [f'host = "{parts.hostname or "NAME"}"']
    if parts.scheme in ("ws", "wss", "mqtt", "mqtts", "tcp", "ssl"):
        secure = parts.scheme in ("wss", "mqtts", "ssl")
        wanted += ['transport = "websockets"'] if web else []
        wanted += [f'path = "{parts.path}"'] if web and parts.path else []
        wanted.append(f"tls = {str(secure).lower()}")
    return f"a host is a name or an address, no URL: write {', '.join(wanted)}"
