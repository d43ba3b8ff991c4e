"""Application permissions on this machine: the module's service user, and OAuth tokens for it."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Application:
    """The third-party application that Foundry makes for a module (foundry docs: execution modes)."""

    client_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def environment(self) -> dict[str, str]:
        """The variables that each replica gets."""
        return {"CLIENT_ID": self.client_id, "CLIENT_SECRET": self.client_secret}

    def serve(self, app: web.Application) -> None:
        """Add the endpoints that the official client gets its tokens from, and gives them back to."""
        # Loaded only here: most modules have no use for the platform.
        from foundry_cm.local.platform import tokens

        app[tokens.TOKENS] = tokens.Tokens(clients={self.client_id: self.client_secret})
        app.add_routes(tokens.routes())
