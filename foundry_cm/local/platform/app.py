"""The local platform as one aiohttp application under the real paths."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from aiohttp import web

from foundry_cm.local.platform import tokens
from foundry_cm.local.platform.datasets import routes as datasets
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.faults import FAULTS, Faults, QosError, point_of
from foundry_cm.local.platform.media import routes as media
from foundry_cm.local.platform.registry import REGISTRY, Registry
from foundry_cm.local.platform.resources import Resource
from foundry_cm.local.platform.streams import routes as streams
from foundry_cm.local.platform.tokens import TOKENS, Tokens

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UPLOAD_LIMIT_BYTES = 1 << 34


def create_platform(
    root: Path,
    resources: Iterable[Resource],
    *,
    access: Tokens | None = None,
    faults: Faults | None = None,
) -> web.Application:
    """The platform API over the folders `data/` and `outputs/` below `root`.

    It answers under `/api/v2`, `/stream-proxy/api`, `/multipass/api`, `/mio/api`, `/foundry-catalog`
    and `/foundry-data-proxy`, and is meant for a TLS server on loopback: the client speaks https.
    """
    app = web.Application(
        middlewares=[envelope, bearer, faulty], client_max_size=UPLOAD_LIMIT_BYTES
    )
    app[REGISTRY] = Registry(root, resources)
    app[TOKENS] = access or Tokens()
    app[FAULTS] = faults or Faults()
    for module in (datasets, streams, media, tokens):
        app.add_routes(module.routes())
    return app


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors into the platform's envelope.

    A path that is not served answers 404 without a body: the client takes that for an endpoint its
    enrollment does not have (ApiNotFoundError).
    """
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except QosError as error:
        return error.response()
    except web.HTTPNotFound:
        return web.Response(status=404)
    except web.HTTPException:
        raise
    except ConnectionError:
        return web.Response(status=500)  # nobody is there to read it
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return ApiError("Default:Internal", status=500).response()


@web.middleware
async def bearer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a call without a valid token; the OAuth endpoints check their own secret."""
    open_to_all = request.path.startswith("/multipass/")
    if not open_to_all and not request.app[TOKENS].valid(request.headers.get("Authorization", "")):
        name = "InvalidCredentials" if "Authorization" in request.headers else "MissingCredentials"
        raise ApiError(name, status=401)
    return await handler(request)


@web.middleware
async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets faults strike before and after a call that has a point of its own."""
    faults = request.app[FAULTS]
    if not faults.faults or not point_of(request):
        return await handler(request)
    await faults.at(request, "before")
    response = await handler(request)
    await faults.at(request, "after")
    return response
