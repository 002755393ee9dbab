"""Real certificates for tests of TLS: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority of this test, and what it signs.

    `rsa_bits`: RSA keys instead of P-256; the cipher suites of PS3.15 annex B are those of RSA.
    """

    def __init__(self, folder, name="site-ca", *, rsa_bits=None) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self._rsa_bits = rsa_bits
        self._key = self._new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = self._write("ca", self._sign(self._name, self._key.public_key(), ca=True))

    def issue(self, name, *, address=None):
        """(certificate file, key file) of a client, or of a server at an IP address."""
        key = self._new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._write(name, self._sign(subject, key.public_key(), address=address))
        file = self.folder / f"{name}.key"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, file

    def _new_key(self):
        if self._rsa_bits:
            return rsa.generate_private_key(public_exponent=65537, key_size=self._rsa_bits)
        return ec.generate_private_key(ec.SECP256R1())

    def _sign(self, subject, public_key, *, ca=False, address=None) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name, certificate):
        file = self.folder / f"{name}.crt"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file
