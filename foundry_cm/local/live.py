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


async def send(
    request: web.Request, news: asyncio.Queue[bytes | None], work: Coroutine[Any, Any, bytes]
) -> web.StreamResponse:
    """Send each line of `news` as it comes, and then the last one, which is what `work` gives.

    A caller who goes away ends the work.
    """
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    await response.prepare(request)
    working = asyncio.create_task(work)
    working.add_done_callback(lambda _: news.put_nowait(None))
    try:
        while (line := await news.get()) is not None:
            await response.write(line)
        await response.write(working.result())
        await response.write_eof()
        return response
    finally:
        working.cancel()


async def answer(
    request: web.Request, call: Callable[[Heard], Coroutine[Any, Any, CallResult]]
) -> web.StreamResponse:
    """Make a call and tell of it as it comes; gives the response, which is sent.

    With `lines=1` in the query, the log of the call is told as well.
    """
    news: asyncio.Queue[bytes | None] = asyncio.Queue()
    items = 0

    def tell(**told: Any) -> None:
        news.put_nowait(json.dumps(told).encode() + b"\n")

    def item(value: Any) -> None:
        nonlocal items
        items += 1
        tell(item=value)

    def line(text: str) -> None:
        tell(line=text)

    async def last() -> bytes:
        try:
            result = await call(Heard(item, line if request.query.get("lines") == "1" else None))
        except CmError as error:
            told = {"error": {**error.as_json(), "exitCode": error.exit_code}}
            return json.dumps(told).encode() + b"\n"
        ends = json.dumps(about(result)).encode() + b"\n"
        # The result is a JSON text already, and maybe a large one.
        return ends if items else b'{"result": %b, %b' % (result.answer.text, ends[1:])

    return await send(request, news, last())


def about(result: CallResult) -> dict[str, Any]:
    """What is told of a call besides its result."""
    return {
        "jobId": result.job_id,
        "replica": result.replica,
        "milliseconds": round(result.seconds * 1000, 3),
        "queuedMilliseconds": round(result.queued_seconds * 1000, 3),
    }
