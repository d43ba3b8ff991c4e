"""What happens, as server-sent events: each page gets what is new to it, several times a second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

# Given the place that a page has come to, -1 at first: the new place and what lies between, or None.
Topic = Callable[[int], tuple[int, Any] | None]

_BETWEEN_SECONDS = 0.1
# A page that hears nothing for longer than this takes the connection for broken.
_BEAT_SECONDS = 2.0


def changing(value: Callable[[], Any]) -> Topic:
    """The topic of a value that is sent whole whenever it is another one than before."""
    before: list[bytes] = [b""]
    version = [0]

    def since(seen: int) -> tuple[int, Any] | None:
        now = value()
        text = _encoded(now)
        if text != before[0]:
            before[0], version[0] = text, version[0] + 1
        return None if seen == version[0] else (version[0], now)

    return since


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can write as an escape.
        return json.dumps(value).encode()


async def follow(request: web.Request, topics: Mapping[str, Topic]) -> web.StreamResponse:
    """Answer with the news of all topics until the page goes; nothing is kept for one that is slow."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await response.prepare(request)
    places = dict.fromkeys(topics, -1)
    silent = _BEAT_SECONDS
    while True:
        news = b""
        for name, topic in topics.items():
            if found := topic(places[name]):
                places[name], value = found
                news += b"event: %b\ndata: %b\n\n" % (name.encode(), _encoded(value))
        silent += _BETWEEN_SECONDS
        if not news and silent >= _BEAT_SECONDS:
            news = b"event: beat\ndata: {}\n\n"
        if news:
            await response.write(news)
            silent = 0.0
        await asyncio.sleep(_BETWEEN_SECONDS)
