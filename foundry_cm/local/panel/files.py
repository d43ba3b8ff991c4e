"""The files that a page sees: sample events, which it may add to, and the data of the local platform."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.tables import SUFFIXES
from foundry_cm.module.events import parse_event
from foundry_cm.module.files import check_inside, check_no_link, replace_text

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,90}\.json")
_LARGEST_EVENT = 5_000_000
_LARGEST_IMAGE = 50_000_000
_ROWS, _TEXT_BYTES = 100, 64_000
# What a browser shows as an image, and runs nothing of.
_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}


def event_names(folder: Path) -> list[str]:
    """The names of the files in `events/`."""
    return sorted(path.name for path in (folder / "events").glob("*.json"))


def read_event(folder: Path, name: str) -> bytes:
    """The JSON text of a sample event; raises `CmError`."""
    path = _event_path(folder, name)
    check_inside(folder, path)
    try:
        if path.stat().st_size > _LARGEST_EVENT:
            raise CmError(f"events/{name} is too large to be edited here", code="EventTooLarge")
        text = path.read_bytes()
    except OSError as error:
        what = f"events/{name} cannot be read: {error.strerror}"
        raise CmError(what, code="NotFound", exit_code=USAGE) from None
    parse_event(text, f"events/{name}")
    return text


def save_event(folder: Path, name: str, text: bytes, *, replace: bool) -> None:
    """Write a sample event; raises `CmError` for a name or a text that is none, and for one that is there."""
    path = _event_path(folder, name)
    value = parse_event(text, "the event")
    check_no_link(folder, path)
    if path.exists() and not replace:
        raise CmError(
            f"events/{name} already exists",
            fix="Choose another name, or replace it.",
            code="Exists",
            exit_code=USAGE,
        )
    try:
        path.parent.mkdir(exist_ok=True)
        replace_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        what = f"events/{name} cannot be written: {error.strerror}"
        raise CmError(what, code="CannotWrite") from None


def _event_path(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name) or ".." in name:
        raise CmError(
            f"{name!r} cannot be the name of an event",
            fix="Use letters, digits, - and _, and end it with .json.",
            code="InvalidName",
            exit_code=USAGE,
        )
    return folder / "events" / name


def image(registry: Registry, rid: str, item: str) -> web.Response:
    """An image of a dataset or media set, by the RID of the item or its path; raises `CmError`."""
    path = _location(registry, rid, item)
    kind = _IMAGES.get(path.suffix.lower())
    if kind is None or path.stat().st_size > _LARGEST_IMAGE:
        raise CmError(f"{path.name} is not an image that a browser can show", code="NotFound")
    return web.Response(
        body=path.read_bytes(), content_type=kind, headers={"Cache-Control": "no-cache"}
    )


def _location(registry: Registry, rid: str, item: str) -> Path:
    for resource in registry.resources:
        if resource.rid != rid:
            continue
        for path in resource.files(registry.root):
            if path.relative_to(resource.folder(registry.root)).as_posix() == item:
                return path
        if resource.kind == "media_set":
            known = registry.media_set(rid).items().get(item)
            if known is not None:
                return registry.media_set(rid).location(known)
    raise CmError(f"There is no item {item} in {rid}", code="NotFound", exit_code=USAGE)


async def look(registry: Registry, rid: str, item: str) -> dict[str, Any]:
    """The beginning of a file, as rows where it is a table, else as text."""
    path = await asyncio.to_thread(_location, registry, rid, item)
    if path.suffix.lower() in _IMAGES:
        return {"kind": "image"}
    return await asyncio.to_thread(_look, path)


def _look(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if path.suffix == ".parquet":
        return {"kind": "rows", "bytes": size, "rows": _parquet(path)}
    with path.open("rb") as file:
        start = file.read(_TEXT_BYTES)
    if path.suffix in SUFFIXES and (rows := _rows(path, start)):
        return {"kind": "rows", "bytes": size, "rows": rows}
    if b"\0" in start:
        return {"kind": "binary", "bytes": size}
    return {"kind": "text", "bytes": size, "text": start.decode("utf-8", "replace")}


def _parquet(path: Path) -> list[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        batches = list(islice(file.iter_batches(batch_size=_ROWS), 1))
    rows = [row for batch in batches for row in batch.to_pylist()]
    # Dates, decimals and bytes as they are written; the page shows, and does not compute.
    return [json.loads(json.dumps(row, default=str)) for row in rows]


def _rows(path: Path, start: bytes) -> list[Any]:
    """The first rows of a text file of records; none where it is no such file."""
    import csv

    lines = start.decode("utf-8-sig", "replace").splitlines()
    if len(start) == _TEXT_BYTES:
        # The last one is cut off.
        lines = lines[:-1]
    if path.suffix == ".csv":
        return list(islice(csv.DictReader(lines), _ROWS))
    rows = []
    for line in lines[:_ROWS]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return []
        rows.append(row if isinstance(row, dict) else {"value": row})
    return rows
