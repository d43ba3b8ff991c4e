"""A call through the panel whose answer comes line by line while the call runs, as JSON objects.

`{"item": ...}` is an item of a streamed result, `{"line": ...}` one of the log. The last line is the
answer as a call gets it otherwise: without `result` where that has come in items, or with `error`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.heard import Heard
from foundry_cm.local.function.results import CallResult

CONTENT_TYPE = "application/x-ndjson"


def is_asked(request: web.Request) -> bool:
    """Whether a request wants the answer in such lines."""
    return request.headers.get("Accept") == CONTENT_TYPE


async def answer(
    request: web.Request, call: Callable[[Heard], Coroutine[Any, Any, CallResult]]
) -> tuple[web.StreamResponse, CallResult | CmError]:
    """Make a call and tell of it as it comes; gives the response, which is sent, and the outcome.

    With `lines=1` in the query, the log of the call is told as well.
    """
    told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    items = 0

    def item(value: Any) -> None:
        nonlocal items
        items += 1
        told.put_nowait({"item": value})

    def line(text: str) -> None:
        told.put_nowait({"line": text})

    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    await response.prepare(request)
    heard = Heard(item, line if request.query.get("lines") == "1" else None)
    calling = asyncio.create_task(call(heard))
    calling.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while (each := await told.get()) is not None:
            await response.write(json.dumps(each).encode() + b"\n")
        outcome: CallResult | CmError
        try:
            outcome = calling.result()
            last = b"%b}\n" % json.dumps(about(outcome)).encode()[:-1]
            if not items:
                # A JSON text already, and maybe a large one.
                last = b'{"result": %b, %b' % (outcome.answer.text, last[1:])
        except CmError as error:
            outcome = error
            last = json.dumps({"error": {**error.as_json(), "exitCode": error.exit_code}}).encode()
            last += b"\n"
        await response.write(last)
        await response.write_eof()
        return response, outcome
    finally:
        calling.cancel()


def about(result: CallResult) -> dict[str, Any]:
    """What is told of a call besides its result."""
    return {
        "jobId": result.job_id,
        "replica": result.replica,
        "milliseconds": round(result.seconds * 1000, 3),
        "queuedMilliseconds": round(result.queued_seconds * 1000, 3),
    }
