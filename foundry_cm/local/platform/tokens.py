"""Bearer tokens: the pipeline's own, which can expire, and those of the OAuth endpoint."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from aiohttp import web

LIFETIME_SECONDS = 3600


def new_token() -> str:
    """A token nobody can guess."""
    return secrets.token_urlsafe(32)


@dataclass
class Tokens:
    """What the platform lets in, and the clients that may ask for more."""

    pipeline: str = field(default_factory=new_token)
    clients: dict[str, str] = field(default_factory=dict)
    issued: set[str] = field(default_factory=set)

    def rotate(self) -> str:
        """Makes the pipeline's token invalid and returns the next one."""
        self.pipeline = new_token()
        return self.pipeline

    def valid(self, header: str) -> bool:
        """Whether an Authorization header lets a call in."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        return any(
            hmac.compare_digest(token.encode(), known.encode())
            for known in (self.pipeline, *self.issued)
        )


TOKENS = web.AppKey("tokens", Tokens)


def routes() -> list[web.RouteDef]:
    """The OAuth endpoints that `ConfidentialClientAuth` uses."""
    return [
        web.post("/multipass/api/oauth2/token", issue),
        web.post("/multipass/api/oauth2/revoke_token", revoke),
    ]


async def issue(request: web.Request) -> web.Response:
    """Answers a client-credentials grant (RFC 6749, section 4.4)."""
    tokens = request.app[TOKENS]
    form = await request.post()
    if form.get("grant_type") != "client_credentials":
        return web.json_response({"error": "unsupported_grant_type"}, status=400)
    if not _known(tokens, form):
        return web.json_response({"error": "invalid_client"}, status=401)
    token = new_token()
    tokens.issued.add(token)
    return web.json_response(
        {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": str(form.get("scope", "")),
        }
    )


async def revoke(request: web.Request) -> web.Response:
    """Takes a token back (RFC 7009)."""
    tokens = request.app[TOKENS]
    form = await request.post()
    if not _known(tokens, form):
        return web.json_response({"error": "invalid_client"}, status=401)
    tokens.issued.discard(str(form.get("token", "")))
    return web.Response(status=200)


def _known(tokens: Tokens, form: object) -> bool:
    get = form.get  # type: ignore[attr-defined]
    secret = tokens.clients.get(str(get("client_id", "")))
    return secret is not None and hmac.compare_digest(
        secret.encode(), str(get("client_secret", "")).encode()
    )
