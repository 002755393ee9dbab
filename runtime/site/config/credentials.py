"""What people or the page itself sign in with cannot be used."""

from __future__ import annotations


class CredentialsError(Exception):
    """A file of passwords or a secret cannot be read or written, or is refused; says why."""
