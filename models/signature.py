"""Ed25519 signatures over the bytes of manifest.json (RFC 8032)."""

from __future__ import annotations

import hashlib

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32


def fingerprint(public_key: bytes) -> str:
    """What a key is called in `status` and in messages: 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def signer_of(message: bytes, signature: bytes, trusted_keys: tuple[bytes, ...]) -> bytes | None:
    """The one of `trusted_keys` (32 raw bytes each) that signed `message`, or None."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for key in trusted_keys:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except InvalidSignature:
            continue
        return key
    return None
