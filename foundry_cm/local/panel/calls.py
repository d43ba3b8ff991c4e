"""Calls of functions: one answer for programs, and the news of a call, one after the other, for the page."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.function.foundry import CallResult, LocalFoundry
from foundry_cm.local.function.heard import Heard
from foundry_cm.local.function.jobs import Job
from foundry_cm.local.function.payloads import Event, event_too_large
from foundry_cm.local.function.server import send_json
from foundry_cm.local.panel import live
from foundry_cm.local.panel.access import told
from foundry_cm.local.panel.history import LARGEST, Call
from foundry_cm.local.panel.recorder import Recorder

OnCall = Callable[[str, CallResult | CmError], None]
# Calls a function for a client of the platform, and keeps the call in the history like any other.
OF_CLIENT: web.AppKey[Callable[[str, Any], Awaitable[CallResult]]] = web.AppKey("of_client")


def add_calls(
    app: web.Application, foundry: LocalFoundry, recorder: Recorder, on_call: OnCall
) -> None:
    """Add the routes that call a function; `on_call` hears of every call and how it ended."""
    calls = _Calls(foundry, recorder, on_call)
    app[OF_CLIENT] = calls.of_client
    app.add_routes([web.post("/api/functions/{name}/invoke", calls.invoke)])


class _Calls:
    def __init__(self, foundry: LocalFoundry, recorder: Recorder, on_call: OnCall) -> None:
        self._foundry, self._recorder, self._on_call = foundry, recorder, on_call

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        """Call a function; the answer is its result with a few facts, or the error."""
        event, timeout = await self._asked(request)
        call, user = self._begin(request.match_info["name"], event), request.query.get("as")
        if live.is_asked(request):
            make = partial(self._call, call, event, timeout, user)
            asked = live.Asked(call.id, make, partial(_about, call))
            return await live.answer(request, asked)
        result = await self._call(call, event, timeout, user)
        # The result is a JSON text already, and may be a large one.
        about = json.dumps(_about(call, result)).encode()
        return await send_json(request, b'{"result": %b, %b' % (result.answer.text, about[1:]))

    async def of_client(self, name: str, value: Any) -> CallResult:
        """The call of a query, which a client executes through the platform; raises `CmError`."""
        event = Event.of(value)
        return await self._call(self._begin(name, event), event, None, None)

    async def _call(
        self,
        call: Call,
        event: Event,
        timeout: float | None,
        as_user: str | None,
        heard: Heard | None = None,
        tell: Callable[..., None] = lambda **_told: None,
    ) -> CallResult:
        """Make a call and keep it in the history; `heard` and `tell` hear of it while it runs."""
        watching: list[Job] = []

        def taken(replica: int) -> None:
            self._recorder.history.started(call, replica)
            tell(started=replica)

        def queued(job: Job) -> None:
            watching.append(job)
            self._recorder.history.queued(call, job.id)
            job.on_taken = taken
            if job.replica is not None:
                taken(job.replica)

        try:
            heard = replace(heard or Heard(), job=queued)
            result = await self._foundry.call(call.function, event, timeout, heard, as_user=as_user)
        except CmError as error:
            self._ended(call, watching, error)
            raise
        except asyncio.CancelledError:
            gone = CmError("The caller went away before the answer", code="Cancelled")
            self._ended(call, watching, gone)
            raise
        self._ended(call, watching, result)
        return result

    def _begin(self, name: str, event: Event) -> Call:
        return self._recorder.history.begin(name, event.text, self._recorder.edit)

    def _ended(self, call: Call, watching: list[Job], outcome: CallResult | CmError) -> None:
        if isinstance(outcome, CmError):
            call.state, call.error = "failed", told(outcome)
        else:
            call.state = "ok"
            call.milliseconds = _ms(outcome.seconds)
            call.queued = _ms(outcome.queued_seconds)
            call.transfer = _ms(outcome.transfer_seconds)
            call.handler = _ms(outcome.seconds - outcome.transfer_seconds)
            call.result_bytes = outcome.result_bytes
            if len(outcome.answer.text) <= LARGEST:
                call.result = outcome.answer.text.decode("utf-8", "replace")
        for job in watching:
            _of_job(call, job)
        self._recorder.ended(call)
        self._on_call(call.function, outcome)

    async def _asked(self, request: web.Request) -> tuple[Event, float | None]:
        try:
            return await self._event(request), timeout_of(request)
        except CmError as error:
            self._on_call(request.match_info["name"], error)
            raise

    async def _event(self, request: web.Request) -> Event:
        most, body = self._foundry.max_bytes, bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise event_too_large("is", most)
        return Event.read(bytes(body), "the request")


def _of_job(call: Call, job: Job) -> None:
    """What is known of a call's way from its job, whatever became of it."""
    call.job = job.id
    if job.replica is not None:
        call.replica = job.replica
    if call.state == "failed" and job.started_at is not None:
        now = time.perf_counter()
        call.queued = _ms(job.started_at - job.queued_at)
        call.milliseconds = call.handler = _ms(max(0.0, now - job.started_at))


def _about(call: Call, result: CallResult | None) -> dict[str, Any]:
    ended = live.about(result) if result else _of_failure(call)
    return {
        **ended,
        "transferMilliseconds": call.transfer,
        "eventBytes": call.event_bytes,
        "resultBytes": call.result_bytes,
        "call": call.id,
    }


def _of_failure(call: Call) -> dict[str, Any]:
    return {
        "jobId": call.job,
        "replica": call.replica,
        "milliseconds": call.milliseconds,
        "queuedMilliseconds": call.queued,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def timeout_of(request: web.Request) -> float | None:
    """The time-out that a request names; raises `CmError` for one that is none."""
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
