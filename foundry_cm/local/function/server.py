"""The runtime's HTTPS routes, as a replica calls them (foundry docs: advanced-custom-client page)."""

from __future__ import annotations

import json
from typing import Any, Protocol

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.jobs import JobQueue, Posted
from foundry_cm.local.mounts import JOB_PATH, RESTART_PATH, RESULT_PATH, SCHEMA_PATH

# The only figure ever published for how long the runtime holds a poll (documentation of the beta).
LONG_POLL_SECONDS = 5.0


class Runtime(Protocol):
    """What the routes need of the local Foundry."""

    jobs: JobQueue
    max_bytes: int

    def replica_of(self, token: str) -> int | None:
        """The replica that a module token belongs to."""

    def polled(self, replica: int) -> None:
        """A replica asks for work: from now on it is responsive."""

    def declared(self, replica: int, schemas: list[Any]) -> None:
        """A replica posted the schemas of its functions."""

    def restarted(self, replica: int) -> list[str]:
        """A replica says that it starts anew; gives the ids of the jobs that this drops."""


def create_app(runtime: Runtime) -> web.Application:
    """The application that serves the runtime's routes, and 404 for every other."""

    def identify(request: web.Request) -> int:
        replica = runtime.replica_of(request.headers.get("Module-Auth-Token", ""))
        if replica is None:
            raise web.HTTPUnauthorized(text="The Module-Auth-Token header is missing or wrong.")
        return replica

    async def get_job(request: web.Request) -> web.StreamResponse:
        replica = identify(request)
        runtime.polled(replica)
        job = await runtime.jobs.next_job(replica, LONG_POLL_SECONDS)
        return web.Response(status=204) if job is None else web.json_response(job.envelope())

    async def post_result(request: web.Request) -> web.StreamResponse:
        replica = identify(request)
        job_id = request.match_info["job_id"]
        if not runtime.jobs.knows(job_id, replica):
            raise web.HTTPNotFound(text=f"There is no job {job_id}.")
        try:
            posted = await _read(request, runtime.max_bytes)
        except BaseException:
            runtime.jobs.interrupt(job_id)
            raise
        runtime.jobs.finish(job_id, posted or _too_large(runtime.max_bytes))
        return web.Response(status=204)

    async def post_schemas(request: web.Request) -> web.StreamResponse:
        replica = identify(request)
        try:
            schemas = json.loads(await request.read())
        except ValueError:
            schemas = None
        if not isinstance(schemas, list):
            raise web.HTTPBadRequest(text="The body must be a JSON array of function schemas.")
        runtime.declared(replica, schemas)
        return web.Response(status=204)

    async def post_restart(request: web.Request) -> web.StreamResponse:
        # 200 with a list: on 204 the SDK gives up after five tries and dies.
        return web.json_response(runtime.restarted(identify(request)))

    app = web.Application(client_max_size=2**26)
    app.router.add_get(JOB_PATH, get_job)
    app.router.add_post(f"{RESULT_PATH}/{{job_id}}", post_result)
    app.router.add_post(SCHEMA_PATH, post_schemas)
    app.router.add_post(RESTART_PATH, post_restart)
    return app


async def _read(request: web.Request, max_bytes: int) -> Posted | None:
    """The whole result, or None where it is over the limit (it is read to its end all the same)."""
    body = bytearray()
    fits, chunks, in_chunk = True, 0, False
    async for part, ends_chunk in request.content.iter_chunks():
        fits = fits and len(body) + len(part) <= max_bytes
        in_chunk = in_chunk or bool(part)
        if ends_chunk and in_chunk:
            chunks, in_chunk = chunks + 1, False
        if fits:
            body += part
    streamed = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    return Posted(bytes(body), max(chunks, 1) if streamed else 0) if fits else None


def _too_large(max_bytes: int) -> CmError:
    return CmError(
        f"The result is over the limit of {max_bytes / 1e6:g} MB for one call",
        fix="Return fewer items a call (batch), or write the data to Foundry and return a reference.",
        code="ResultTooLarge",
    )
