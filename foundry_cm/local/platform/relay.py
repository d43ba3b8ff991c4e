"""Reads of a dataset, a media set or an object type of the real Foundry, handed on to it and back, piece by piece.

The module talks to the local platform alone. What it reads of these resources comes from the real one,
for the person at this shell; what it would write is refused here, as for any input. Nothing is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

from foundry_cm.enrollment.person import Person
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.access import Handler, check_scope
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.incidents import INCIDENTS
from foundry_cm.local.platform.requests import BLOCK

if TYPE_CHECKING:
    from foundry_cm.local.platform.activity import Activity
    from foundry_cm.local.platform.resources import Resource

DATASET = re.compile(r"ri\.foundry\.[a-z0-9-]*\.dataset\.[\w.-]+")
ONTOLOGY = re.compile(r"ri\.ontology\.[a-z0-9-]*\.ontology\.[\w.-]+")
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
# What lies below a dataset or a media set; its RID elsewhere in a path says nothing of what is read.
_RESOURCE = re.compile(
    r"/(api/v2/(datasets|mediasets)|foundry-catalog/api/catalog/datasets"
    r"|foundry-data-proxy/api/dataproxy/datasets|mio/api/media-set)/(?P<rid>[^/]+)"
)
# The one call that reads by POST.
_LISTED_BY_POST = re.compile(r"/mio/api/media-set/[^/]+/paging")
_LISTS = re.compile(r"/(files|paging|readTable)$")
_CONTENTS = re.compile(r"/(content|original|readTable)$|^/foundry-data-proxy/|^/api/v2/ontologies/")
_ONTOLOGY = re.compile(r"^/api/v2/ontologies/[^/]+/")
_OBJECTS = re.compile(
    r"/api/v2/ontologies/[^/]+/(objects|objectTypes)/(?P<type>[^/]+)"
    r"(/(?P<question>search|count|aggregate)|/.*)?"
)
_SETS = re.compile(r"/api/v2/ontologies/[^/]+/objectSets/(loadObjects|aggregate)")
_DEPTH = 50
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


class Relay:
    """What of one run lies in the real Foundry: resources by RID, and object types by name.

    `object_types` has the RIDs of their Ontologies.
    """

    def __init__(
        self, person: Person, resources: Mapping[str, Resource], object_types: Mapping[str, str]
    ) -> None:
        self.person = person
        self.object_types = object_types
        self._resources = resources
        self._session: aiohttp.ClientSession | None = None

    async def find(self, request: web.Request) -> tuple[str, str] | None:
        """The name of what a request reads, and its address on the real Foundry; None for all else."""
        path, reads = request.path, request.method in ("GET", "HEAD")
        if _climbs(path):
            return None
        if reads or (request.method == "POST" and _LISTED_BY_POST.fullmatch(path)):
            below = _RESOURCE.match(path)
            if resource := below and self._resources.get(below["rid"]):
                return resource.alias, request.raw_path
        match = _OBJECTS.fullmatch(path)
        if match and (reads or (request.method == "POST" and match["question"])):
            return self._of_type(request, {match["type"]})
        if request.method == "POST" and _SETS.fullmatch(path) and self.object_types:
            return self._of_type(request, _types_in(await request.read()))
        return None

    def _of_type(self, request: web.Request, types: set[str]) -> tuple[str, str] | None:
        """The address of a question about objects, where they are all of one type that lies there."""
        remote = types & self.object_types.keys()
        if not remote:
            return None
        if len(types) > 1:
            # Neither side knows the objects of both.
            raise ApiError("UnsupportedObjectSet")
        check_scope(request, "api:ontologies-read")
        (name,) = remote
        ontology = f"/api/v2/ontologies/{self.object_types[name]}/"
        return name, _ONTOLOGY.sub(ontology, request.raw_path, count=1)

    def check_edits(self, types: Iterable[str]) -> None:
        """Raise the `ApiError` of an edit of objects that lie there."""
        if any(each in self.object_types for each in types):
            raise ApiError("EditObjectPermissionDenied", status=403)

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
        asked = {
            each.alias: f"{'mediasets' if each.kind == 'media_set' else 'datasets'}/{rid}?preview=true"
            for rid, each in self._resources.items()
        }
        for name, rid in self.object_types.items():
            asked[name] = f"ontologies/{rid}/objectTypes/{name}"
        for name, path in asked.items():
            try:
                async with self.ask("GET", f"/api/v2/{path}", {}) as answer:
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
                    f"{name} cannot be read on {self.person.host}: it answers {status} for "
                    f"{path.partition('?')[0]}",
                    fix="Correct the RID, or ask for a role on its project.",
                    code="Refused",
                )


RELAY = web.AppKey("relay", Relay)


@web.middleware
async def relayed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hands a read of such a resource on; everything else is answered here."""
    relay = request.app.get(RELAY)
    found = await relay.find(request) if relay else None
    if relay is None or found is None:
        return await handler(request)
    name, address = found
    from foundry_cm.local.platform.registry import REGISTRY

    headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
    body = await request.read() if request.method == "POST" else None
    try:
        async with relay.ask(request.method, address, headers, body) as answer:
            if answer.status == 401 or 300 <= answer.status < 400:
                raise _refusal(request, relay, name, answer.status)
            response = await _passed_on(request, answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(request, relay, error) from None
    if answer.status < 400:
        _note(request.app[REGISTRY].activity, name, request)
    return response


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """The answer of the real Foundry, in pieces: neither side holds all of it."""
    headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for block in answer.content.iter_chunked(BLOCK):
            await response.write(block)
    except (aiohttp.ClientError, TimeoutError):
        # The module has the beginning of an answer: that it breaks off is all that it can be told.
        if request.transport:
            request.transport.abort()
        raise ConnectionError from None
    await response.write_eof()
    return response


def _climbs(path: str) -> bool:
    """Whether a path leads out of what it names, should a proxy over there resolve its `..`."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(path)))


def _refusal(request: web.Request, relay: Relay, name: str, status: int) -> ApiError:
    host = relay.person.host
    if status == 401:
        what = f"{host} refuses the token, so {name} cannot be read: set FOUNDRY_TOKEN again"
    else:
        what = f"{host} sends a read of {name} elsewhere, and it is not followed"
    request.app[INCIDENTS].on_unknown(what)
    # For a 401 the module would renew its own token, which is good.
    return (
        ApiError("PermissionDenied") if status == 401 else ApiError("Default:Internal", status=502)
    )


def _unreachable(request: web.Request, relay: Relay, error: Exception) -> ApiError:
    told = relay.person.unreachable(str(error) or type(error).__name__)
    request.app[INCIDENTS].on_unknown(told.what)
    return ApiError("Default:Internal", status=502, message=told.what)


def _note(activity: Activity, name: str, request: web.Request) -> None:
    if _LISTS.search(request.path):
        activity.listed(name)
    if _CONTENTS.search(request.path):
        activity.relayed(name, request.path_qs)


def _types_in(body: bytes) -> set[str]:
    """The object types that the description of an object set names."""
    found: set[str] = set()

    def look(value: Any, depth: int = 0) -> None:
        if depth > _DEPTH:
            raise ApiError("UnsupportedObjectSet")
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, dict | list):
                look(each, depth + 1)
        if isinstance(value, dict) and isinstance(value.get("objectType"), str):
            found.add(value["objectType"])

    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return found
    look(asked if isinstance(asked, dict | list) else [])
    return found


def check_rid(alias: str, rid: str) -> None:
    """Raise `CmError` for what is no RID of a dataset, a media set or an Ontology."""
    if not any(kind.fullmatch(rid) for kind in (DATASET, MEDIA_SET, ONTOLOGY)):
        raise CmError(
            f'"{rid}" is not the RID of a dataset, a media set or an Ontology',
            where=f"--remote {alias}",
            fix="Copy it from the resource in Foundry. It begins with ri.foundry.main.dataset. or "
            "ri.mio.main.media-set. For an object type, give the RID of its Ontology: "
            "ri.ontology.main.ontology.",
            code="Rid",
            exit_code=USAGE,
        )
