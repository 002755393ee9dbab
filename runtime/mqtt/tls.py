"""What proves us to a broker, and the broker to us."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.mqtt.settings import BrokerSettings


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
    return settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
