"""Reads of a dataset or media set of the real Foundry, handed on to it and back, piece by piece.

The module talks to the local platform alone. What it reads of these resources comes from the real one,
for the person at this shell; what it would write is refused here, as for any input. Nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from foundry_cm.enrollment.person import Person
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.access import Handler
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.incidents import INCIDENTS
from foundry_cm.local.platform.requests import BLOCK

if TYPE_CHECKING:
    from foundry_cm.local.platform.activity import Activity
    from foundry_cm.local.platform.resources import Resource

DATASET = re.compile(r"ri\.foundry\.[a-z0-9-]*\.dataset\.[\w.-]+")
MEDIA_SET = re.compile(r"ri\.mio\.[a-z0-9-]*\.media-set\.[\w.-]+")
_ASKED = ("Accept", "Content-Type", "Range", "If-None-Match", "User-Agent")
_ANSWERED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Retry-After",
)
# The one call that reads by POST.
_LISTED_BY_POST = re.compile(r"/mio/api/media-set/[^/]+/paging")
_LISTS = re.compile(r"/(files|paging|readTable)$")
_CONTENTS = re.compile(r"/(content|original|readTable)$|^/foundry-data-proxy/")
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


class Relay:
    """The resources of one run that lie in the real Foundry."""

    def __init__(self, person: Person, resources: Mapping[str, Resource]) -> None:
        self.person = person
        self._resources = resources
        self._session: aiohttp.ClientSession | None = None

    def of(self, request: web.Request) -> Resource | None:
        """The resource that a request reads, where it is one of these."""
        reads = request.method in ("GET", "HEAD") or (
            request.method == "POST" and _LISTED_BY_POST.fullmatch(request.path)
        )
        found = filter(None, map(self._resources.get, request.path.split("/")))
        return next(found, None) if reads else None

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        """The connections to the real Foundry, as long as the application runs."""
        connector = aiohttp.TCPConnector(ssl=self.person.tls())
        async with aiohttp.ClientSession(
            connector=connector, timeout=_TIMES, auto_decompress=False
        ) as self._session:
            yield

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> aiohttp.client._RequestContextManager:
        """A request to the real Foundry. It follows no redirect: the token goes to that host alone."""
        assert self._session is not None
        return self._session.request(
            method,
            URL(f"https://{self.person.host}{path}", encoded=True),
            headers={**headers, "Authorization": f"Bearer {self.person.token}"},
            data=body,
            proxy=self.person.proxy(),
            allow_redirects=False,
        )

    async def check(self) -> None:
        """Raise the `CmError` of a resource that this person cannot read there."""
        for rid, resource in self._resources.items():
            kind = "mediasets" if resource.kind == "media_set" else "datasets"
            try:
                async with self.ask("GET", f"/api/v2/{kind}/{rid}?preview=true", {}) as answer:
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise self.person.unreachable(str(error) or type(error).__name__) from None
            if status == 401:
                raise CmError(
                    f"{self.person.host} refuses the token",
                    fix="Generate a new one there, and set FOUNDRY_TOKEN again.",
                    code="Refused",
                )
            if status != 200:
                raise CmError(
                    f"{resource.alias} cannot be read on {self.person.host}: it answers {status} "
                    f"for {rid}",
                    fix="Correct the RID, or ask for a role on its project.",
                    code="Refused",
                )


RELAY = web.AppKey("relay", Relay)


@web.middleware
async def relayed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hands a read of such a resource on; everything else is answered here."""
    relay = request.app.get(RELAY)
    resource = relay.of(request) if relay else None
    if relay is None or resource is None:
        return await handler(request)
    from foundry_cm.local.platform.registry import REGISTRY

    headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
    body = await request.read() if request.method == "POST" else None
    try:
        async with relay.ask(request.method, request.raw_path, headers, body) as answer:
            if answer.status == 401 or 300 <= answer.status < 400:
                raise _refusal(request, relay, resource, answer.status)
            response = await _passed_on(request, answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(request, relay, error) from None
    if answer.status < 400:
        _note(request.app[REGISTRY].activity, resource, request)
    return response


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """The answer of the real Foundry, in pieces: neither side holds all of it."""
    headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for block in answer.content.iter_chunked(BLOCK):
        await response.write(block)
    await response.write_eof()
    return response


def _refusal(request: web.Request, relay: Relay, resource: Resource, status: int) -> ApiError:
    host = relay.person.host
    if status == 401:
        what = (
            f"{host} refuses the token, so {resource.alias} cannot be read: set FOUNDRY_TOKEN again"
        )
    else:
        what = f"{host} sends a read of {resource.alias} elsewhere, and it is not followed"
    request.app[INCIDENTS].on_unknown(what)
    # For a 401 the module would renew its own token, which is good.
    return (
        ApiError("PermissionDenied") if status == 401 else ApiError("Default:Internal", status=502)
    )


def _unreachable(request: web.Request, relay: Relay, error: Exception) -> ApiError:
    told = relay.person.unreachable(str(error) or type(error).__name__)
    request.app[INCIDENTS].on_unknown(told.what)
    return ApiError("Default:Internal", status=502, message=told.what)


def _note(activity: Activity, resource: Resource, request: web.Request) -> None:
    if _LISTS.search(request.path):
        activity.listed(resource.alias)
    if _CONTENTS.search(request.path):
        activity.relayed(resource.alias, request.path_qs)


def check_rid(alias: str, rid: str) -> None:
    """Raise `CmError` for what is no RID of a dataset or media set."""
    if not (DATASET.fullmatch(rid) or MEDIA_SET.fullmatch(rid)):
        raise CmError(
            f'"{rid}" is not the RID of a dataset or media set',
            where=f"--remote {alias}",
            fix="Foundry shows it at the resource. It begins with ri.foundry.main.dataset. or "
            "ri.mio.main.media-set.",
            code="Rid",
            exit_code=USAGE,
        )
