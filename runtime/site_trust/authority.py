"""The site's private certificate authority: makes it, signs with it, takes back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AUTHORITY_DAYS = 3650
CLOCK_SLACK = timedelta(days=2)
"""A unit whose clock was set back a day must still believe its broker, and be believed."""


class CertificateRole(StrEnum):
    """What a certificate is for. It decides on which side of TLS it counts."""

    BROKER = "broker"
    UNIT = "unit"
    SITE = "site"


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes
    serial: str
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """A certificate that no longer counts."""

    serial: str
    revoked_at: datetime


class Authority:
    """The authority's key at work. P-256 and SHA-256: what every TLS 1.2 stack can verify."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def new(cls, site: str, now: datetime) -> Self:
        """A new authority, for ten years; it can sign no other authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mammoedge {site}"[:64])])
        builder = _builder(name, name, key.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
        usage = _key_usage(signs_certificates=True)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        """The authority of these files. Raises ValueError: they are none, or do not fit."""
        loaded = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or (
            loaded.public_key() != private.public_key()
        ):
            raise ValueError("the authority's key is not that of its certificate")
        return cls(loaded, private)

    @property
    def certificate_pem(self) -> bytes:
        """What everybody at the site is given."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """What nobody is given."""
        return _key_pem(self._key)

    @property
    def ends_at(self) -> datetime:
        """When the authority itself ends; nothing that it signs outlives it."""
        return self._certificate.not_valid_after_utc

    def issue(
        self,
        role: CertificateRole,
        name: str,
        *,
        hosts: Sequence[str] = (),
        now: datetime,
        days: int,
    ) -> KeyPair:
        """A new key and its certificate. `name` becomes the user name at the broker.

        `hosts`: names and addresses under which a broker is reached. Raises ValueError: no host.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ends_at = min(now + timedelta(days=days), self.ends_at).replace(microsecond=0)
        # One purpose each: a unit's key must not be able to play the broker (RFC 5280, 4.2.1.12).
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH
        if role is CertificateRole.BROKER:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), now, ends_at)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if role is CertificateRole.BROKER:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(
            certificate=certificate.public_bytes(serialization.Encoding.PEM),
            key=_key_pem(key),
            serial=f"{certificate.serial_number:x}",
            ends_at=ends_at,
        )

    def revocation_list(self, revoked: Iterable[Revocation], now: datetime) -> bytes:
        """The list of what no longer counts, PEM.

        It ends with the authority: OpenSSL refuses *everybody* once a list is past its next
        update, and a list that somebody forgot to renew would silence every unit of the site.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - CLOCK_SLACK)
            .next_update(self.ends_at)
            # The number must grow (RFC 5280, 5.2.3).
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        )
        for revocation in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(int(revocation.serial, 16))
                .revocation_date(revocation.revoked_at)
                .build()
            )
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    ends_at: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - CLOCK_SLACK)
        .not_valid_after(ends_at)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
