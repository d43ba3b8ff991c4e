"""Application permissions on this machine: the module's service user, and OAuth tokens for it."""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Application:
    """The third-party application that Foundry makes for a module (foundry docs: execution modes).

    `lifetime` is that of a token, in seconds; none is published.
    """

    client_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    lifetime: int = 3600
    tokens: set[str] = field(default_factory=set, repr=False)

    def environment(self) -> dict[str, str]:
        """The variables that each replica gets."""
        return {"CLIENT_ID": self.client_id, "CLIENT_SECRET": self.client_secret}

    def routes(self) -> list[web.RouteDef]:
        """The endpoints that the official client gets its tokens from, and gives them back to."""
        base = "/multipass/api/oauth2"
        return [
            web.post(f"{base}/token", self._issue),
            web.post(f"{base}/revoke_token", self._revoke),
        ]

    async def _issue(self, request: web.Request) -> web.Response:
        """Answer a client-credentials grant (RFC 6749, section 4.4)."""
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if not self._knows(form.get("client_id"), form.get("client_secret")):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = secrets.token_urlsafe(32)
        self.tokens.add(token)
        return web.json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": self.lifetime}
        )

    async def _revoke(self, request: web.Request) -> web.Response:
        """Take a token back (RFC 7009)."""
        form = await request.post()
        if not self._knows(form.get("client_id"), form.get("client_secret")):
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens.discard(str(form.get("token")))
        return web.Response()

    def _knows(self, client_id: object, client_secret: object) -> bool:
        same = hmac.compare_digest(str(client_secret).encode(), self.client_secret.encode())
        return client_id == self.client_id and same
