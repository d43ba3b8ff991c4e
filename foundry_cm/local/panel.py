"""The query panel's JSON API, on loopback: the functions of the running module, and calls to them."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local import live
from foundry_cm.local.function.foundry import CallResult, LocalFoundry
from foundry_cm.local.function.payloads import Event, event_too_large
from foundry_cm.local.function.server import send_json
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.site import LOG, LOOPBACK, bind

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NAMES = (LOOPBACK, "localhost")
# Where a server shows that it knows the secret of its start, without telling it.
PROOF_PATH = "/api/proof"
_STATUS = {
    "UnknownFunction": 404,
    "InvalidEvent": 400,
    "NotJson": 400,
    "InvalidTimeout": 400,
    "EventTooLarge": 413,
    "TimedOut": 504,
    "NotReady": 503,
    "ModuleDied": 503,
    "Reloaded": 503,
    "Stopped": 503,
}


def create_app(
    foundry: LocalFoundry,
    on_call: Callable[[str, CallResult | CmError], None] = lambda _name, _outcome: None,
    *,
    secret: str = "",
) -> web.Application:
    """The application; `on_call` hears of every call and how it ended, `secret` is that of this start."""

    async def functions(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "functions": [
                    {
                        "name": function.name,
                        "signature": function.signature(),
                        "schema": function.schema,
                        "eventSchema": function.event_schema,
                        "sampleEvent": function.sample_event(),
                        "warnings": function.warnings(),
                    }
                    for function in foundry.functions.values()
                ]
            }
        )

    async def schemas(request: web.Request) -> web.StreamResponse:
        try:
            await foundry.ready(_timeout(request))
            return web.json_response(foundry.declarations.whole())
        except CmError as error:
            return _failure(error)

    async def data(_request: web.Request) -> web.StreamResponse:
        registry = foundry.registry
        found: dict[str, Any] = {"data": registry.catalogue() if registry else []}
        if registry and registry.ontology:
            try:
                found["ontology"] = registry.ontology.described()
            except ApiError as error:
                return error.response()
        return web.json_response(found)

    async def status(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "replicas": [
                    {
                        "replica": replica.index,
                        "state": foundry.fleet.state(replica),
                        "running": len(foundry.jobs.held(replica.index)),
                    }
                    for replica in foundry.replicas
                ],
                "wished": foundry.fleet.wished,
                "present": len(foundry.fleet.present),
                "concurrency": foundry.settings.concurrency,
                "queued": foundry.jobs.queued,
            }
        )

    async def invoke(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        try:
            event, timeout = await _event(request, foundry.max_bytes), _timeout(request)
            call = partial(foundry.call, name, event, timeout, as_user=request.query.get("as"))
            if live.is_asked(request):
                response, outcome = await live.answer(request, call)
                on_call(name, outcome)
                return response
            result = await call()
        except CmError as error:
            on_call(name, error)
            return _failure(error)
        on_call(name, result)
        # The result is a JSON text already, and may be a large one.
        about = json.dumps(live.about(result)).encode()
        return await send_json(request, b'{"result": %b, %b' % (result.answer.text, about[1:]))

    async def prove(request: web.Request) -> web.StreamResponse:
        return web.Response(text=proof(secret, request.query.get("nonce", "")))

    app = web.Application(middlewares=[_errors_as_json, _local_only], client_max_size=2**40)
    app.router.add_get("/api/functions", functions)
    app.router.add_get("/api/schemas", schemas)
    app.router.add_get("/api/data", data)
    app.router.add_get("/api/status", status)
    app.router.add_get(PROOF_PATH, prove)
    app.router.add_post("/api/functions/{name}/invoke", invoke)
    return app


async def serve(app: web.Application, port: int) -> tuple[web.AppRunner, str]:
    """Serve the panel on loopback; gives its runner, to be cleaned up, and its address."""
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1, logger=LOG
    )
    await runner.setup()
    listener = bind(port)
    await web.SockSite(runner, listener).start()
    return runner, f"http://{LOOPBACK}:{listener.getsockname()[1]}"


def proof(secret: str, nonce: str) -> str:
    """What only those can say who know the secret."""
    return hmac.new(secret.encode(), nonce.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@web.middleware
async def _local_only(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse what a web page elsewhere could send through this person's browser.

    `Host` and `Origin` have to name this server, by its port as well: another server of this machine
    is another site, and so is a page without an origin (`null`).
    """
    hosts = {f"{name}:{_port(request)}" for name in _NAMES}
    asked = {host.lower() for host in request.headers.getall("Host", [""])}
    origins = {origin.lower() for origin in request.headers.getall("Origin", [])}
    site = request.headers.get("Sec-Fetch-Site", "none")
    if (
        asked <= hosts
        and origins <= {f"http://{host}" for host in hosts}
        and site in ("none", "same-origin")
    ):
        return await handler(request)
    raise web.HTTPForbidden(text="The query panel answers this machine only.")


def _port(request: web.Request) -> int:
    address = request.transport.get_extra_info("sockname") if request.transport else None
    return int(address[1]) if address else 0


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        reason = error.text or error.reason
        return web.json_response(
            {"error": {"code": "Http", "message": reason}}, status=error.status
        )


def _failure(error: CmError) -> web.Response:
    body = {**error.as_json(), "exitCode": error.exit_code}
    return web.json_response({"error": body}, status=_STATUS.get(error.code, 502))


async def _event(request: web.Request, max_bytes: int) -> Event:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise event_too_large("is", max_bytes)
    return Event.read(bytes(body), "the request")


def _timeout(request: web.Request) -> float | None:
    given = request.query.get("timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise CmError(
            f"timeout={given} is not a number of seconds above 0",
            fix="Give one such as timeout=30.",
            code="InvalidTimeout",
            exit_code=USAGE,
        )
    return seconds
