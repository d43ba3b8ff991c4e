"""What the handlers share: parameters, pages, bodies and streamed files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.faults import FAULTS

BLOCK = 1 << 18


def preview(request: web.Request) -> None:
    """Refuses a call of a preview endpoint without `preview=true`."""
    if request.query.get("preview", "").lower() != "true":
        raise ApiError("ApiFeaturePreviewUsageOnly")


async def json_body(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object."""
    text = await request.read()
    if not text:
        raise ApiError("MissingPostBody")
    try:
        value = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise ApiError("InvalidRequestBody") from None
    if not isinstance(value, dict):
        raise ApiError("InvalidRequestBody")
    return value


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def page(request: web.Request, items: Sequence[Any], default: int, largest: int) -> web.Response:
    """One page of a list, as the parameters of a call ask for it."""
    return web.json_response(page_of(items, request.query, default, largest))


def page_of(
    items: Sequence[Any], asked: Mapping[str, Any], default: int, largest: int
) -> dict[str, Any]:
    """The page that `pageSize` and `pageToken` ask for; the token of the next page is its offset."""
    size = _number(asked, "pageSize", default, "InvalidPageSize")
    if size <= 0:
        raise ApiError("InvalidPageSize", pageSize=size)
    start = _number(asked, "pageToken", 0, "InvalidPageToken")
    if start < 0:
        raise ApiError("InvalidPageToken", pageToken=str(start))
    size = min(size, largest)
    body: dict[str, Any] = {"data": list(items[start : start + size])}
    if start + size < len(items):
        body["nextPageToken"] = str(start + size)
    return body


def number(request: web.Request, name: str, default: int, error: str) -> int:
    """A parameter that is a whole number."""
    return _number(request.query, name, default, error)


def _number(asked: Mapping[str, Any], name: str, default: int, error: str) -> int:
    text = asked.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except (ValueError, TypeError):
        raise ApiError(error, status=None, headers=None, **{name: str(text)}) from None


async def receive(request: web.Request, target: Path) -> int:
    """Writes the body to a file and returns its size in bytes.

    A client that goes away in the middle leaves nothing behind.
    """
    faults = request.app[FAULTS]
    size, half = 0, (request.content_length or 0) // 2
    passed_half = False
    try:
        with target.open("wb") as file:
            async for block in request.content.iter_chunked(BLOCK):
                file.write(block)
                size += len(block)
                if not passed_half and size >= half:
                    passed_half = True
                    await faults.at(request, "mid")
    except BaseException:
        _discard(target)
        raise
    return size


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


async def send(
    request: web.Request, path: Path, size: int, content_type: str = "application/octet-stream"
) -> web.StreamResponse:
    """Streams a file, so that neither side holds all of it."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.content_length = size
    await response.prepare(request)
    sent, passed_half = 0, False
    with path.open("rb") as file:
        while block := memoryview(file.read(BLOCK)):
            await response.write(block[: len(block) // 2])
            if not passed_half and sent + len(block) >= size // 2:
                passed_half = True
                await request.app[FAULTS].at(request, "mid")
            await response.write(block[len(block) // 2 :])
            sent += len(block)
    await response.write_eof()
    return response
