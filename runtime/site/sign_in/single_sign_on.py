"""Sign-in by an OpenID Connect provider: authorization code with PKCE, state and nonce.

Authlib makes and checks them (its Starlette client), and verifies the ID token's signature,
audience and times; what is compared here is the issuer, and whether the person may come in.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError

from runtime.site.config.page_settings import EVERYBODY, CredentialsError
from runtime.site.sign_in.sessions import BACK, SignOnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from runtime.site.config.page_settings import OpenIdSettings

LOG = logging.getLogger(__name__)

TIMEOUT_S = 10.0
# What a provider that is away, misconfigured or hostile can raise here: transport; OAuth's own
# errors and a state that is not ours; a token that does not hold; metadata that is no JSON or names
# no endpoint (ValueError, RuntimeError of Authlib).
FAULTS = (httpx2.HTTPError, AuthlibBaseError, JoseError, ValueError, RuntimeError, KeyError)


class SingleSignOn:
    """One provider.

    Args:
        settings: of the provider.
        address: of this page, as browsers know it.

    Raises:
        CredentialsError: the secret's file cannot be read, or is empty.
        OSError: the authorities' file cannot be used.
    """

    def __init__(self, settings: OpenIdSettings, address: str) -> None:
        self._settings = settings
        self._back = address.rstrip("/") + BACK
        issuer = settings.issuer.rstrip("/")
        self._issuers = [issuer, issuer + "/"]
        context = ssl.create_default_context(cafile=settings.ca_file)
        self._client: Any = OAuth().register(
            "site",
            client_id=settings.client_id,
            client_secret=read_secret(settings.client_secret_file),
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(settings.scopes),
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": (
                    "client_secret_basic" if settings.client_secret_file else "none"
                ),
                "verify": context,
                "timeout": TIMEOUT_S,
            },
        )

    async def leave(self, request: Request) -> Response:
        """To the provider. Raises SignOnError."""
        try:
            answer: Response = await self._client.authorize_redirect(request, self._back)
        except FAULTS as error:
            raise self._failed(error) from error
        return answer

    async def come_back(self, request: Request) -> str:
        """Who came back from the provider. Raises SignOnError."""
        wanted = {
            "iss": {"essential": True, "values": self._issuers},
            "sub": {"essential": True},
            "aud": {"essential": True},
            "exp": {"essential": True},
        }
        try:
            token = await self._client.authorize_access_token(request, claims_options=wanted)
        except FAULTS as error:
            raise self._failed(error) from error
        claims = token.get("userinfo")
        if claims is None:
            raise self._failed(ValueError("no ID token"))
        if not self.may_come_in(claims):
            raise SignOnError("not_allowed")
        return str(claims.get("email") or claims.get("name") or claims["sub"])[:128]

    def may_come_in(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claim holds one of the values that are allowed."""
        allowed = self._settings.allowed
        if EVERYBODY in allowed:
            return True
        name = self._settings.claim
        if name == "email" and claims.get("email_verified") is False:
            return False  # anybody may write any address where nobody checks it
        held = claims.get(name)
        values = held if isinstance(held, list) else [held]
        return any(isinstance(value, str) and value in allowed for value in values)

    @staticmethod
    def _failed(error: Exception) -> SignOnError:
        # The kind alone: texts of such errors may hold codes, tokens or what a person is called.
        LOG.warning("sign-in by the provider failed: %s", type(error).__name__)
        return SignOnError("provider")


def read_secret(path: Path | None) -> str | None:
    """The one line of the file; None without one. Raises CredentialsError."""
    if path is None:
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"page.openid.client_secret_file: {path.name}: {error}") from error
    if not secret:
        raise CredentialsError(f"page.openid.client_secret_file: {path.name} is empty")
    return secret
