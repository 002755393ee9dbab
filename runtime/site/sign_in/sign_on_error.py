"""What goes wrong at a sign-in by a provider; a page without one need not load Authlib."""

from __future__ import annotations


class SignOnError(Exception):
    """It did not work. `why` is a word of ours: `provider` or `not_allowed`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
