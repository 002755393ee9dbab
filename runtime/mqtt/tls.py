"""What proves us to a broker or proxy, and the broker to us; how long our certificate counts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.mqtt.settings import BrokerSettings


SOON_DAYS = 30
DAY_MS = 24 * 3600 * 1000


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Verifies the broker's chain and name; TLS 1.2 or later; our certificate if we have one.

    Made for every connection, so that a renewed certificate is used without a restart.

    Raises:
        OSError: a file cannot be read, or is no certificate or key.
    """
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate_file is not None:
        # A key under a passphrase is refused; without `password` OpenSSL would ask the terminal.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
    return context


def broker_password(settings: BrokerSettings) -> str | None:
    """The password for `username`; None without a file. Raises OSError."""
    if settings.password_file is None:
        return None
    return _secret(settings.password_file)


def _secret(file: Path) -> str:
    return file.read_text(encoding="utf-8").rstrip("\r\n")


def proxy_arguments(settings: BrokerSettings) -> dict[str, Any]:
    """What PySocks is told of the proxy; {} without one. The proxy looks up the broker's name.

    Raises:
        OSError: the password's file cannot be read.
    """
    proxy, password_file = settings.proxy_address, settings.proxy_password_file
    if proxy is None:
        return {}
    import socks

    return {
        "proxy_type": socks.HTTP if proxy.kind == "http" else socks.SOCKS5,
        "proxy_addr": proxy.host,
        "proxy_port": proxy.port,
        "proxy_rdns": True,
        "proxy_username": proxy.username,
        "proxy_password": _secret(password_file) if password_file else None,
    }


def days_left(file: Path, now_ms: int) -> float:
    """Days until the certificate in `file` (PEM) ends; below 0 if it has.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no certificate.
    """
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return (certificate.not_valid_after_utc.timestamp() * 1000 - now_ms) / DAY_MS


def ends_soon(broker: BrokerSettings, now_ms: int) -> bool:
    """Whether the site should renew our certificate; False where we have none.

    One that cannot be read is no matter of time: the connection says what is wrong with it.
    """
    if broker.certificate_file is None:
        return False
    try:
        return days_left(broker.certificate_file, now_ms) < SOON_DAYS
    except (OSError, ValueError):
        return False
