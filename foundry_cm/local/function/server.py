"""The runtime's HTTPS routes, as a replica calls them (foundry docs: advanced-custom-client page)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.jobs import Job, JobQueue, Posted
from foundry_cm.local.mounts import JOB_PATH, RESTART_PATH, RESULT_PATH, SCHEMA_PATH

# The only figure ever published for how long the runtime holds a poll (documentation of the beta).
LONG_POLL_SECONDS = 5.0
_PIECE = 2**18


class Runtime(Protocol):
    """What the routes need of the local Foundry."""

    jobs: JobQueue
    max_bytes: int

    def replica_of(self, token: str) -> int | None:
        """The replica that a module token belongs to."""

    def polled(self, replica: int) -> bool:
        """A replica asks for work; gives whether it may wait for some.

        The TypeScript SDK declares its functions after its first poll was answered.
        """

    def declared(self, replica: int, schemas: list[Any]) -> None:
        """A replica posted the schemas of its functions."""

    def restarted(self, replica: int) -> list[str]:
        """A replica says that it restarts; gives the ids of the jobs that this drops."""


def create_app(runtime: Runtime, *, older: bool = False) -> web.Application:
    """The application that serves the runtime's routes, and 404 for every other.

    `older`: the routes of the older protocol, which the Java SDK speaks on a port of its own
    (`ComputeModuleClient`, April 2025): other paths, and the job without an envelope.
    """

    def identify(request: web.Request) -> int:
        replica = runtime.replica_of(request.headers.get("Module-Auth-Token", ""))
        if replica is None:
            raise web.HTTPUnauthorized(text="The Module-Auth-Token header is missing or wrong.")
        return replica

    async def poll(request: web.Request, shape: Callable[[Job], bytes]) -> web.StreamResponse:
        replica = identify(request)
        if not runtime.polled(replica):
            return web.Response(status=204)
        job = await runtime.jobs.next_job(replica, LONG_POLL_SECONDS)
        if job is None:
            return web.Response(status=204)
        try:
            response = await send_json(request, shape(job))
            job.delivered_at = time.perf_counter()
            return response
        except (ConnectionError, asyncio.CancelledError):
            runtime.jobs.take_back(job)
            raise

    async def get_job(request: web.Request) -> web.StreamResponse:
        return await poll(request, Job.envelope)

    async def get_flat_job(request: web.Request) -> web.StreamResponse:
        return await poll(request, Job.flat)

    async def post_result(request: web.Request) -> web.StreamResponse:
        replica = identify(request)
        job_id = request.match_info["job_id"]
        if not runtime.jobs.knows(job_id, replica):
            raise web.HTTPNotFound(text=f"There is no job {job_id}.")
        runtime.jobs.posting(job_id)
        try:
            posted = await _read(
                request, runtime.max_bytes, lambda piece: runtime.jobs.arrive(job_id, piece)
            )
        except BaseException:
            runtime.jobs.interrupt(job_id)
            raise
        runtime.jobs.finish(job_id, posted or _too_large(runtime.max_bytes))
        return web.Response(status=204)

    async def post_schemas(request: web.Request) -> web.StreamResponse:
        replica = identify(request)
        try:
            schemas = json.loads(await request.read())
        except (ValueError, RecursionError):
            schemas = None
        if isinstance(schemas, dict) and "functionName" in schemas:
            schemas = [schemas]
        if not isinstance(schemas, list):
            raise web.HTTPBadRequest(text="The body must be a JSON array of function schemas.")
        runtime.declared(replica, schemas)
        return web.Response(status=204)

    async def post_restart(request: web.Request) -> web.StreamResponse:
        # 200 with a list: on 204 the SDK gives up after five tries and dies.
        return web.json_response(runtime.restarted(identify(request)))

    app = web.Application(client_max_size=2**26)
    app.router.add_get("/job" if older else JOB_PATH, get_flat_job if older else get_job)
    app.router.add_post(f"{'/results' if older else RESULT_PATH}/{{job_id}}", post_result)
    app.router.add_post("/schemas" if older else SCHEMA_PATH, post_schemas)
    app.router.add_post("/restart-notify" if older else RESTART_PATH, post_restart)
    return app


async def send_json(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer with a JSON text; a large one goes in pieces, so that others have their turn between."""
    if len(body) <= _PIECE:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    for start in range(0, len(body), _PIECE):
        await response.write(body[start : start + _PIECE])
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def _read(
    request: web.Request, max_bytes: int, on_chunk: Callable[[bytes], None]
) -> Posted | None:
    """The whole result, or None where it is over the limit (it is read to its end all the same).

    `on_chunk` hears of each chunk of a streamed one as it arrives.
    """
    streamed = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    body = bytearray()
    fits, chunks, in_chunk, told = True, 0, False, 0
    async for part, ends_chunk in request.content.iter_chunks():
        fits = fits and len(body) + len(part) <= max_bytes
        in_chunk = in_chunk or bool(part)
        if fits:
            body += part
        if ends_chunk and in_chunk:
            chunks, in_chunk = chunks + 1, False
            if streamed and fits:
                on_chunk(bytes(body[told:]))
                told = len(body)
    return Posted(bytes(body), max(chunks, 1) if streamed else 0) if fits else None


def _too_large(max_bytes: int) -> CmError:
    return CmError(
        f"The result is over the limit of {max_bytes / 1e6:g} MB for one call",
        fix="Return fewer items a call (batch), or write the data to Foundry and return a reference.",
        code="ResultTooLarge",
    )
