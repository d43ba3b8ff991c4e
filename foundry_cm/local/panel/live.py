"""A call through the panel whose answer comes line by line while the call runs, as JSON objects.

`{"call": ID}` is its place in the history, `{"started": REPLICA}` says who took it, `{"item": ...}` is an
item of a streamed result, `{"line": ...}` one of the log. The last line is the answer as a call gets it
otherwise: without `result` where that has come in items, or with `error`, and with `about` beside that.

With `lines=1` in the query, the log of the call is told as well. With `most=BYTES`, a result is told
whole besides its items, or as `{"tooLarge": BYTES}` where it has more bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.heard import Heard
from foundry_cm.local.function.results import CallResult
from foundry_cm.local.panel.access import told

CONTENT_TYPE = "application/x-ndjson"


@dataclass(frozen=True)
class Asked:
    """A call of the history that is to be made: how, and what is told of it once it has ended.

    `about` gets the result, or None after a failure.
    """

    id: str
    make: Callable[[Heard, Callable[..., None]], Coroutine[Any, Any, CallResult]]
    about: Callable[[CallResult | None], dict[str, Any]]


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


async def answer(request: web.Request, asked: Asked) -> web.StreamResponse:
    """Make a call and tell of it as it comes; gives the response, which is sent."""
    news: asyncio.Queue[bytes | None] = asyncio.Queue()
    items = 0

    def tell(**what: Any) -> None:
        news.put_nowait(_line(what))

    def item(value: Any) -> None:
        nonlocal items
        items += 1
        tell(item=value)

    def line(text: str) -> None:
        tell(line=text)

    async def last() -> bytes:
        heard = Heard(item, line if request.query.get("lines") == "1" else None)
        try:
            result = await asked.make(heard, tell)
        except CmError as error:
            return _line({"error": told(error), "about": asked.about(None)})
        return _ends(request.query.get("most"), result, asked.about(result), items)

    tell(call=asked.id)
    return await send(request, news, last())


def _ends(most: str | None, result: CallResult, about: dict[str, Any], items: int) -> bytes:
    text = result.answer.text
    if items and most is None:
        return _line(about)
    if most is not None and most.isdecimal() and len(text) > int(most):
        return _line({"tooLarge": len(text), **about})
    # The result is a JSON text already, and maybe a large one.
    return b'{"result": %b, %b' % (text, _line(about)[1:])


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def about(result: CallResult) -> dict[str, Any]:
    """What is told of a call besides its result."""
    return {
        "jobId": result.job_id,
        "replica": result.replica,
        "milliseconds": round(result.seconds * 1000, 3),
        "queuedMilliseconds": round(result.queued_seconds * 1000, 3),
    }
