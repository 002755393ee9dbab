"""TLS on DICOM associations: the BCP 195 secure transport profiles of PS3.15 annex B.

Both sides show a certificate: an association without one would let anybody on the network send
images to the unit, whatever AE title they write.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

# PS3.15 B.9 and B.10 (RFC 9325): forward secrecy and authenticated encryption only. TLS 1.3 has
# nothing else; of TLS 1.2 these remain.
CIPHERS_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"


class TlsSettings(BaseModel):
    """The table `[intake.dicom.tls]`. All three files are PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: Path = Field(description="ours, with the chain behind it")
    key_file: Path = Field(description="its private key, no passphrase")
    ca_file: Path = Field(description="authorities that may vouch for those who send to us")

    def server_context(self) -> ssl.SSLContext:
        """For the listening side. Raises OSError, ssl.SSLError: a file is missing or no PEM."""
        return self._hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client_context(self) -> ssl.SSLContext:
        """For the calling side, which verifies the name too. Raises like `server_context`."""
        return self._hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _hardened(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # PS3.15 B.10: never below
        context.set_ciphers(CIPHERS_TLS_1_2)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(self.certificate_file, self.key_file)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context
