"""Who may use the panel: this machine's user, by the panel's own page or by a program of theirs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.site import LOG, LOOPBACK, bind

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NAMES = (LOOPBACK, "localhost")
# Where a server shows that it knows the secret of its start, without telling it.
PROOF_PATH = "/api/proof"
_STATUS = {
    "UnknownFunction": 404,
    "NotFound": 404,
    "InvalidEvent": 400,
    "NotJson": 400,
    "InvalidTimeout": 400,
    "InvalidName": 400,
    "Link": 400,
    "Exists": 409,
    "EventTooLarge": 413,
    "TimedOut": 504,
    "NotReady": 503,
    "ModuleDied": 503,
    "Reloaded": 503,
    "Stopped": 503,
}
# Scripts and styles come from files of the page alone, and no text can become either: with trusted
# types even a slip in the page's own code would be refused by the browser.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def guarded_app(secret: str) -> web.Application:
    """An application without routes but that of the proof, which answers the panel's own page alone."""

    async def prove(request: web.Request) -> web.StreamResponse:
        return web.Response(text=proof(secret, request.query.get("nonce", "")))

    app = web.Application(middlewares=[_errors_as_json, _local_only], client_max_size=2**40)
    app.on_response_prepare.append(_add_headers)
    app.router.add_get(PROOF_PATH, prove)
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


def failure(error: CmError) -> web.Response:
    """An error as the API answers it."""
    return web.json_response({"error": told(error)}, status=_STATUS.get(error.code, 502))


def told(error: CmError) -> dict[str, object]:
    """An error as JSON, with the exit code that a command would end with."""
    return {**error.as_json(), "exitCode": error.exit_code}


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


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
    except CmError as error:
        return failure(error)
