"""Who is let in: bearer tokens, the OAuth client of a module, and what a stranger is told."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.incidents import INCIDENTS, Incidents, unknown_route
from foundry_cm.local.platform.scratch import routes as scratch

LIFETIME_SECONDS = 3600
UPLOAD_LIMIT_BYTES = 1 << 34
log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Tokens:
    """The tokens that are good now, and the clients that may ask for more.

    `pipeline` is the one in BUILD2_TOKEN and `caller` that of applications which call the module's
    functions; `issued` are those of OAuth, each with the time at which it ends.
    """

    pipeline: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    caller: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    clients: dict[str, str] = field(default_factory=dict, repr=False)
    issued: dict[str, float] = field(default_factory=dict, repr=False)
    users: dict[str, str] = field(default_factory=dict, repr=False)
    # In SCRATCH_TOKEN, for a module that has scratch.
    scratch: str = field(default="", repr=False)
    # What a token of OAuth may do, where its client did not ask for everything.
    scopes: dict[str, set[str]] = field(default_factory=dict, repr=False)

    def rotate(self) -> str:
        """Make the pipeline's token invalid; gives the next one."""
        self.pipeline = secrets.token_urlsafe(32)
        return self.pipeline

    def register(self) -> dict[str, str]:
        """Make a client, as application permissions do; gives the variables that name it."""
        client_id, secret = uuid.uuid4().hex, secrets.token_urlsafe(32)
        self.clients[client_id] = secret
        return {"CLIENT_ID": client_id, "CLIENT_SECRET": secret}

    def share(self) -> dict[str, str]:
        """Give a module scratch; gives the variable that lets its replicas in."""
        self.scratch = secrets.token_urlsafe(32)
        return {"SCRATCH_TOKEN": self.scratch}

    def issue(self, scope: str = "") -> str:
        """A token that is good for a while, for the scopes that a client asks for; for all without one."""
        token = secrets.token_urlsafe(32)
        self.issued[token] = time.monotonic() + LIFETIME_SECONDS
        if scope:
            self.scopes[token] = set(scope.split())
        return token

    def of_user(self, user: str) -> str:
        """A token of a user, the same as long as it is good."""
        token = self.users.get(user, "")
        if not self.valid(f"Bearer {token}"):
            token = self.users[user] = self.issue()
        return token

    def admits(self, header: str, scope: str) -> bool:
        """Whether the token in a valid Authorization header has a scope."""
        granted = self.scopes.get(header.partition(" ")[2])
        return granted is None or scope in granted

    def valid(self, header: str) -> bool:
        """Whether an Authorization header lets a call in."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        now = time.monotonic()
        good = [
            self.pipeline,
            self.caller,
            *(issued for issued, end in self.issued.items() if end > now),
        ]
        return any(hmac.compare_digest(token.encode(), known.encode()) for known in good)

    def knows(self, client_id: str, secret: str) -> bool:
        """Whether this is a client, with its secret."""
        known = self.clients.get(client_id)
        return known is not None and hmac.compare_digest(known.encode(), secret.encode())


TOKENS = web.AppKey("tokens", Tokens)


def guarded(tokens: Tokens, *further: Any) -> web.Application:
    """An API that lets in who has a token; by itself it has the OAuth endpoints, and scratch where it is on.

    So it is the platform of a module without permissions. `further` are more middlewares.
    """
    middlewares = [envelope, bearer, *further]
    app = web.Application(middlewares=middlewares, client_max_size=UPLOAD_LIMIT_BYTES)
    app[TOKENS] = tokens
    app[INCIDENTS] = Incidents()
    app.router.add_post("/multipass/api/oauth2/token", issue)
    app.router.add_post("/multipass/api/oauth2/revoke_token", revoke)
    if tokens.scratch:
        app[scratch.SHARED] = scratch.Shared(tokens.scratch)
        app.add_routes(scratch.routes())
    return app


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors into the platform's envelope."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return unknown_route(request, error)
    except web.HTTPException:
        raise
    except ConnectionError:
        return web.Response(status=500)  # nobody is there to read it
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return ApiError("Default:Internal", status=500).response()


@web.middleware
async def bearer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a call without a valid token; the OAuth endpoints and scratch check secrets of their own."""
    checked_there = request.path.startswith(("/multipass/", f"{scratch.PREFIX}/"))
    if not checked_there and not request.app[TOKENS].valid(
        request.headers.get("Authorization", "")
    ):
        name = "InvalidCredentials" if "Authorization" in request.headers else "MissingCredentials"
        raise ApiError(name, status=401)
    return await handler(request)


def check_scope(request: web.Request, scope: str) -> None:
    """Refuse a call whose token is not for that."""
    if not request.app[TOKENS].admits(request.headers.get("Authorization", ""), scope):
        raise ApiError("ApiUsageDenied", missingScope=scope)


async def issue(request: web.Request) -> web.Response:
    """Answers a client-credentials grant (RFC 6749, section 4.4)."""
    form = await _form(request)
    if form.get("grant_type") != "client_credentials":
        return web.json_response({"error": "unsupported_grant_type"}, status=400)
    tokens = request.app[TOKENS]
    if not tokens.knows(form.get("client_id", ""), form.get("client_secret", "")):
        return web.json_response({"error": "invalid_client"}, status=401)
    return web.json_response(
        {
            "access_token": tokens.issue(form.get("scope", "")),
            "token_type": "bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": form.get("scope", ""),
        }
    )


async def revoke(request: web.Request) -> web.Response:
    """Takes a token back (RFC 7009)."""
    form = await _form(request)
    tokens = request.app[TOKENS]
    if not tokens.knows(form.get("client_id", ""), form.get("client_secret", "")):
        return web.json_response({"error": "invalid_client"}, status=401)
    tokens.issued.pop(form.get("token", ""), None)
    return web.Response(status=200)


async def _form(request: web.Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.post()).items()}
