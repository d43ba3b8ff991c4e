"""The items of a media set, in an order that lasts.

A media set has no such order: what is new can be older than what was read before. So the module gives
each item a number when it first sees it, and writes the numbers down in the errors output before it
reads the items. From then on a media set is read like a partition of a stream.
"""

import json
import os
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import foundry_sdk
import httpx
import pyarrow as pa
from compute_modules.resources import PipelineResource
from foundry_sdk import FoundryClient

from ..platform import AUTH, gateway, service
from .calls import call
from .inputs import Chunk
from .outputs import DatasetTarget
from .records import Rejected, SchemaError, check_columns, type_name

COLUMNS = pa.schema(
    [("media_item_rid", pa.string()), ("path", pa.string()), ("content", pa.binary())]
)
CHUNK_ITEMS = 16
ITEM_BYTES = 20_000_000
READERS = ThreadPoolExecutor(8, thread_name_prefix="read")
# So many files of numbers are read at a start before they are written down anew as one.
LEDGER_FILES = 100
INSTEAD = "a dataset of media references works in its place, see DEPLOY.md"


class MediaSetError(Exception):
    """A media set cannot be listed."""


@dataclass(frozen=True)
class Item:
    """An item of a media set; its content never changes."""

    rid: str
    path: str


class MediaSource:
    """A media set that is read; its rows are the items that have a number."""

    def __init__(
        self, client: FoundryClient, alias: str, resource: PipelineResource, ledger: DatasetTarget
    ) -> None:
        self.name = alias
        self._media = client.media_sets.MediaSet.with_streaming_response
        self._rid = resource.rid
        mio = service("foundry_mio") or gateway().removesuffix("/api") + "/mio/api"
        self._listing = f"{mio}/media-set/{self._rid}/paging"
        self._ledger = ledger
        self._folder = f"_items/{alias}/"
        self._items: list[Item] = []
        self._written = 0
        if resource.branch not in (None, "master"):
            raise MediaSetError(f"{alias}: give it without a branch; only master can be listed")

    def recover(self) -> None:
        """Read which items have a number."""
        spans = {_span(path): path for path in self._ledger.notes(self._folder)}
        files = 0
        # Each time the file that reaches furthest, among those that begin where the last one ended.
        while follow := [span for span in spans if span[0] <= len(self._items) < span[1]]:
            furthest = max(follow, key=lambda span: span[1])
            listed = json.loads(self._ledger.read_note(spans[furthest]))
            self._items[furthest[0] :] = [Item(*each) for each in listed]
            files += 1
        self._written = 0 if files > LEDGER_FILES else len(self._items)

    def look(self) -> None:
        """Give a number to each item that has none yet."""
        known = {item.rid for item in self._items}
        new = [item for item in self._list() if item.rid not in known]
        if not new:
            return
        self._items += new
        start, stop = self._written, len(self._items)
        listed = [[item.rid, item.path] for item in self._items[start:]]
        path = f"{self._folder}{start:012d}-{stop:012d}.json"
        self._ledger.note(path, json.dumps(listed).encode())
        self._written = stop

    def _list(self) -> list[Item]:
        """The items, the latest one last; what was replaced or deleted is left out.

        The client has no such call, so this is the one of Foundry's own pages.
        """
        body: dict[str, Any] = {"type": {"type": "fromLatest", "fromLatest": {}}}
        latest: dict[str, Item] = {}
        seen: set[str] = set()
        while True:
            try:
                page = call(_post, self._listing, body)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                raise MediaSetError(
                    f"{self.name}: Foundry answers {status} when the media set is listed; {INSTEAD}"
                ) from None
            items = [Item(each["mediaItemRid"], each.get("path") or "") for each in page["records"]]
            if items and seen.issuperset(item.rid for item in items):
                raise MediaSetError(
                    f"{self.name}: the listing repeats itself after {len(seen)} items; {INSTEAD}"
                )
            for item in items:
                seen.add(item.rid)
                latest.setdefault(item.path or item.rid, item)
            token = page.pop("nextPageToken", None)
            if other := [name for name in page if "token" in name.lower()]:
                raise MediaSetError(f"{self.name}: the listing goes on by {other[0]}; {INSTEAD}")
            if not (items and token):
                # A deleted item leaves a tombstone in its place.
                return [item for item in reversed(latest.values()) if "tombstone" not in item.rid]
            body["pageToken"] = token

    def chunks(self, schema: Any, start: int, stop: int | None) -> Iterator[Chunk]:
        """The items from `start` on; the next ones are fetched while these are processed."""
        _check(schema, self.name)
        end = len(self._items) if stop is None else min(stop, len(self._items))
        ahead = self._fetch(start, end)
        while start < end:
            fetched, after = ahead, min(start + CHUNK_ITEMS, end)
            ahead = self._fetch(after, end)
            yield self._chunk(schema, start, [each.result() for each in fetched])
            start = after

    def _chunk(self, schema: Any, start: int, contents: list[bytes | str]) -> Chunk:
        stop = start + len(contents)
        items = self._items[start:stop]
        places = [item.path or item.rid for item in items]
        rows, rejected = [], []
        for row, (item, content) in enumerate(zip(items, contents, strict=True), start):
            if isinstance(content, str):
                rejected.append(Rejected(content, places[row - start], item.rid, row))
            else:
                rows.append({"media_item_rid": item.rid, "path": item.path, "content": content})
        table = pa.Table.from_pylist(rows, COLUMNS).select(schema.names)
        return Chunk(self.name, self.name, start, stop, table, rejected, places=places)

    def _fetch(self, start: int, end: int) -> list[Future[bytes | str]]:
        items = self._items[start : min(start + CHUNK_ITEMS, end)]
        return [READERS.submit(self._read, item) for item in items]

    def _read(self, item: Item) -> bytes | str:
        """The content of an item, or why it cannot be used."""
        try:
            content: bytes | None = call(self._receive, item)
        except foundry_sdk.NotFoundError:
            return "the media set has it no more"
        return f"it has more than {ITEM_BYTES:,} bytes" if content is None else content

    def _receive(self, item: Item) -> bytes | None:
        content = bytearray()
        with self._media.read_original(self._rid, item.rid) as response:
            for block in response.iter_bytes():
                content += block
                if len(content) > ITEM_BYTES:
                    return None
        return bytes(content)


def _post(address: str, body: Any) -> Any:
    """A call that the client lacks, with the same token and certificates."""
    response = httpx.post(
        address,
        json=body,
        headers={"Authorization": f"Bearer {AUTH.get_token().access_token}"},
        verify=ssl.create_default_context(cafile=os.environ["DEFAULT_CA_PATH"]),
        timeout=60,
    )
    response.raise_for_status()
    return response.json()


def _span(path: str) -> tuple[int, int]:
    start, stop = path.rpartition("/")[2].removesuffix(".json").split("-")
    return int(start), int(stop)


def _check(schema: Any, alias: str) -> None:
    """The record class of the inputs has to be that of media items, or a part of it."""
    check_columns(COLUMNS.names, schema, alias)
    for field in schema:
        kind = COLUMNS.field(field.name).type
        if kind != field.type:
            raise SchemaError(
                f'{alias}: column "{field.name}" is {type_name(kind)}, not {type_name(field.type)}'
            )
