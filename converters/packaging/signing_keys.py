"""Ed25519 keys of an engineer: made once, the private half a file that only he can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from runtime.system.secret_file import write_new_secret

if TYPE_CHECKING:
    from pathlib import Path


def make_key_pair(private: Path) -> bytes:
    """Write a new private key (PKCS #8 PEM, mode 0600); the public key, 32 raw bytes.

    Raises:
        BenchFaultError: the file is there already (a key is never overwritten), or the disk would
            not take it; no key file is left then.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_new_secret(private, content)
    except OSError as fault:
        raise BenchFaultError([f"{private.name}: {fault.strerror}: no key was written"]) from fault
    return key.public_key().public_bytes_raw()


def sign(message: bytes, private: Path) -> bytes:
    """The 64-byte signature of `message` with the key in `private`.

    Raises:
        BenchFaultError: no readable Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise BenchFaultError([f"{private.name}: no readable key: {fault}"]) from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise BenchFaultError([f"{private.name}: no Ed25519 key"])
    return key.sign(message)
