"""Who is signed in: kept in this process, so that a restart or a sign-out ends it for good."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

BACK = "/sign-in/openid/back"
MOST_SESSIONS = 2000
ANONYMOUS_S = 900.0
"""How long somebody may take to sign in."""


@dataclass(kw_only=True, eq=False)
class Session:
    """One browser. `person` is "" until it signed in; `data` is Authlib's between two requests."""

    csrf: str
    began_s: float
    person: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class SessionBook:
    """All sessions. Lives in one event loop.

    The cookie's value is not kept, only its hash: what a core dump shows signs nobody in.
    """

    def __init__(self, *, longest_s: float, monotonic: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._sessions: dict[bytes, Session] = {}

    def begin(self, person: str = "") -> tuple[str, Session]:
        """A new session and its cookie's value (256 random bits)."""
        self._forget()
        now_s = self._monotonic()
        cookie = secrets.token_urlsafe(32)
        session = Session(csrf=secrets.token_urlsafe(32), began_s=now_s, person=person)
        self._sessions[_key(cookie)] = session
        return cookie, session

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, if it has not ended."""
        session = self._sessions.get(_key(cookie)) if cookie else None
        return None if session is None or self._ended(session) else session

    def stands(self, session: Session) -> bool:
        """Whether it is still open: a page's stream asks, which no request ends."""
        return not self._ended(session) and session in self._sessions.values()

    def end(self, cookie: str | None) -> None:
        """Signs a browser out."""
        if cookie:
            self._sessions.pop(_key(cookie), None)

    def _ended(self, session: Session) -> bool:
        longest_s = self._longest_s if session.person else ANONYMOUS_S
        return self._monotonic() - session.began_s > longest_s

    def _forget(self) -> None:
        """Those that ended; the oldest that never signed in where somebody opens thousands."""
        ended = [key for key, session in self._sessions.items() if self._ended(session)]
        for key in ended:
            del self._sessions[key]
        while len(self._sessions) >= MOST_SESSIONS:
            # dicts keep their order: the first is the oldest.
            anonymous = (key for key, one in self._sessions.items() if not one.person)
            del self._sessions[next(anonymous, next(iter(self._sessions)))]


def is_token_of(session: Session, word: str) -> bool:
    """Whether a form's hidden word is this session's, in constant time."""
    return hmac.compare_digest(session.csrf.encode(), word.encode())


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


class SignOnError(PeerError):
    """It did not work. `why` is a word of ours: `provider` or `not_allowed`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
