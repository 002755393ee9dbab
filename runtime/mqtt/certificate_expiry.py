"""How long our own certificate for the broker still counts: said before it ends, not after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.mqtt.settings import BrokerSettings

SOON_DAYS = 30
DAY_MS = 24 * 3600 * 1000


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
