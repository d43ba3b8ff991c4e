"""The routes of the SDK's package `scratch` (0.34, `_client.py`); they have a token of their own."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.requests import json_body
from foundry_cm.local.platform.scratch.store import DEFAULT_LIFETIME, LIFETIMES, Scratch

PREFIX = "/contour-backend-multiplexer/api/scratch/api/v1"
MOST_KEYS = 100
"""The most keys that one call may ask for."""


@dataclass
class Shared:
    """What one module shares, and the token that says which module a call comes from."""

    token: str = field(repr=False)
    scratch: Scratch = field(default_factory=Scratch)


SHARED = web.AppKey("scratch", Shared)


def routes() -> list[web.RouteDef]:
    """Every route; the names say at which point faults strike."""
    return [
        web.post(f"{PREFIX}/cache", put, name="cache-put"),
        web.post(f"{PREFIX}/cache/get", get, name="cache-get"),
        web.post(f"{PREFIX}/cache/delete", delete, name="cache-delete"),
        web.post(f"{PREFIX}/cache/exists", exists, name="cache-exists"),
        web.post(f"{PREFIX}/cache/batch-get", batch_get, name="cache-batch"),
        web.post(f"{PREFIX}/lock/try-lock", try_lock, name="lock-take"),
        web.post(f"{PREFIX}/lock/unlock", unlock, name="lock-leave"),
        web.post(f"{PREFIX}/lock/refresh", refresh, name="lock-refresh"),
    ]


async def _asked(request: web.Request) -> tuple[Scratch, dict[str, Any]]:
    """What is shared, and the body of a call with the right token."""
    shared = request.app[SHARED]
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), shared.token.encode()):
        raise ApiError("PermissionDenied")
    return shared.scratch, await json_body(request)


def _text(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise _invalid(f"{name} has to be text")
    return value


def _invalid(message: str) -> ApiError:
    return ApiError("Default:InvalidArgument", status=400, message=message)


# The cache.


async def put(request: web.Request) -> web.Response:
    """Keeps a text under a key."""
    scratch, body = await _asked(request)
    lifetime = body.get("ttl") or DEFAULT_LIFETIME
    if lifetime not in LIFETIMES:
        raise _invalid(f"ttl is one of {', '.join(LIFETIMES)}")
    scratch.put(_text(body, "key"), _text(body.get("value"), "value"), lifetime)
    return web.Response(status=204)


async def get(request: web.Request) -> web.Response:
    """The text under a key; 204 where there is none."""
    scratch, body = await _asked(request)
    text = scratch.get(_text(body, "key"))
    return web.Response(status=204) if text is None else web.json_response({"value": text})


async def delete(request: web.Request) -> web.Response:
    """Forgets a key."""
    scratch, body = await _asked(request)
    scratch.delete(_text(body, "key"))
    return web.Response(status=204)


async def exists(request: web.Request) -> web.Response:
    """Whether there is a text under a key."""
    scratch, body = await _asked(request)
    return web.json_response({"exists": scratch.get(_text(body, "key")) is not None})


async def batch_get(request: web.Request) -> web.Response:
    """The texts under several keys; those that are not there are left out."""
    scratch, body = await _asked(request)
    keys = body.get("keys")
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise _invalid(f"keys is a list of {MOST_KEYS} at most")
    texts = {key: scratch.get(key) for key in keys if isinstance(key, str)}
    found = {key: {"value": text} for key, text in texts.items() if text is not None}
    return web.json_response({"entries": found})


# Locks.


def _handle(body: dict[str, Any]) -> tuple[str, str]:
    handle = body.get("handle")
    return _text(handle, "lockName"), _text(handle, "lockId")


async def try_lock(request: web.Request) -> web.Response:
    """Takes a lock, unless another one holds it."""
    scratch, body = await _asked(request)
    name = _text(body, "lockName")
    lock = scratch.try_lock(name)
    if lock is None:
        return web.json_response({"type": "notAcquired", "notAcquired": {}})
    handle = {"lockName": name, "lockId": lock}
    return web.json_response({"type": "acquired", "acquired": handle})


async def unlock(request: web.Request) -> web.Response:
    """Gives a lock back."""
    scratch, body = await _asked(request)
    scratch.unlock(*_handle(body))
    return web.Response(status=204)


async def refresh(request: web.Request) -> web.Response:
    """Holds a lock for longer."""
    scratch, body = await _asked(request)
    return web.json_response({"success": scratch.refresh(*_handle(body))})
