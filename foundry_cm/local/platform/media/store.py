"""A media set: its items are the files of a folder, their paths are the paths of the items."""

from __future__ import annotations

import mimetypes
import re
import shutil
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from foundry_cm.local.platform.digests import Digests
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import (
    NAMESPACE,
    Resource,
    checked_path,
    derived_rid,
    read_state,
    remove_file,
    write_json,
)

TRANSACTION_LIMIT = 10_000
"""Items a transaction of a media set holds at most (documentation, media sets Q and A)."""

ITEM_RID = re.compile(r"ri\.mio\.main\.media-item\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Item:
    """A media item; `stamp` is its logical timestamp, in microseconds since the epoch."""

    rid: str
    path: str
    stamp: int


class _Kept(msgspec.Struct):
    """An item as it is kept."""

    rid: Annotated[str, msgspec.Meta(pattern=f"^{ITEM_RID.pattern}$")]
    path: str
    stamp: int

    def __post_init__(self) -> None:
        checked_path(self.path)


class MediaSet:
    """Items and transactions of one media set.

    An output takes a transaction for every write, an input is not written at all.
    """

    def __init__(self, root: Path, resource: Resource) -> None:
        self.resource = resource
        self.root = root
        self.folder = resource.folder(root)
        self.store = resource.state(root)
        self._lock = threading.RLock()
        self.open_transaction: str | None = None
        self.pending: dict[str, Item] = {}
        self._digests = Digests()
        self._items: dict[str, Item] = {
            item.rid: Item(item.rid, item.path, item.stamp)
            for item in (read_state(self.store / "items.json", dict[str, _Kept]) or {}).values()
        }
        shutil.rmtree(self.store / "pending", ignore_errors=True)

    @property
    def view_rid(self) -> str:
        """The one view of the media set."""
        unique = derived_rid("view", self.resource.rid).rpartition(".")[2]
        return f"ri.mio.main.view.{unique}"

    def items(self) -> dict[str, Item]:
        """Item rid to item: what was committed, or for an input the files that lie there.

        A file is known by its path and its content, so a changed file is another item.
        """
        if not self.resource.writable:
            found = map(self.item_at, self.resource.files(self.root))
            self._items = {item.rid: item for item in found}
        return self._items

    def item_at(self, path: Path) -> Item:
        """The item that a file of an input is."""
        name = path.relative_to(self.folder).as_posix()
        unique = uuid.uuid5(NAMESPACE, f"{self.resource.rid}/{name}/{self._digests.of(path)}")
        return Item(f"ri.mio.main.media-item.{unique}", name, path.stat().st_mtime_ns // 1000)

    def latest(self) -> list[Item]:
        """The items, the one that was put last first."""
        return sorted(self.items().values(), key=lambda item: (item.stamp, item.rid), reverse=True)

    def item(self, rid: str) -> Item:
        """The item of that rid."""
        known = self._items.get(rid)
        if known is None or not (self.resource.writable or self._is_there(known)):
            known = self.items().get(rid)
        if known is None:
            raise ApiError("MediaItemNotFound", mediaSetRid=self.resource.rid, mediaItemRid=rid)
        return known

    def _is_there(self, item: Item) -> bool:
        """Whether the file of an input is still the one that was listed."""
        path = self.location(item)
        return path.is_file() and self.item_at(path).rid == item.rid

    def by_path(self, path: str) -> Item | None:
        """The item that was put last at a path."""
        found = [item for item in self.items().values() if item.path == path]
        return max(found, key=lambda item: item.stamp) if found else None

    def location(self, item: Item) -> Path:
        """The file of an item."""
        return self.folder / item.path

    def size(self, item: Item) -> int:
        """Bytes of an item."""
        return self.location(item).stat().st_size

    def media_type(self, item: Item) -> str:
        """The media type, from the name (inferred; the platform also looks inside)."""
        return mimetypes.guess_type(item.path)[0] or "application/octet-stream"

    def forget(self) -> None:
        """Remove the items that were put into an output."""
        for item in self._items.values() if self.resource.writable else ():
            remove_file(self.location(item), self.root)

    # Writing

    def begin(self) -> str:
        """Opens a transaction, one at a time."""
        with self._lock:
            self._writable()
            if self.open_transaction:
                raise ApiError(
                    "MediaSetOpenTransactionAlreadyExists", mediaSetRid=self.resource.rid
                )
            self.open_transaction = str(uuid.uuid4())
            return self.open_transaction

    def staging(self) -> Path:
        """A fresh file to receive an upload."""
        folder = self.store / "pending"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / str(uuid.uuid4())

    def add(self, transaction: str, path: str, received: Path, rid: str | None) -> Item:
        """Puts a received file into the open transaction."""
        with self._lock:
            self.check_open(transaction)
            checked_path(path)
            if received.stat().st_size == 0:
                raise ApiError("MissingMediaItemContent", mediaSetRid=self.resource.rid, path=path)
            if len(self.pending) >= TRANSACTION_LIMIT:
                # The limit is documented, the name of the error is not: inferred.
                raise ApiError(
                    "MediaSetTransactionItemLimitExceeded",
                    status=400,
                    mediaSetRid=self.resource.rid,
                    limit=TRANSACTION_LIMIT,
                )
            chosen = self._checked_rid(rid) or f"ri.mio.main.media-item.{uuid.uuid4()}"
            item = Item(chosen, path, time.time_ns() // 1000)
            received.replace(self.store / "pending" / item.rid)
            self.pending[item.rid] = item
            return item

    def commit(self, transaction: str) -> None:
        """Makes the items of the transaction visible."""
        with self._lock:
            self.check_open(transaction)
            for item in self.pending.values():
                self._drop(item.path)
                target = self.location(item)
                target.parent.mkdir(parents=True, exist_ok=True)
                (self.store / "pending" / item.rid).replace(target)
                self._items[item.rid] = item
            kept = {rid: asdict(item) for rid, item in self._items.items()}
            write_json(self.store / "items.json", kept)
            self._close()

    def abort(self, transaction: str) -> None:
        """Drops the items of the transaction."""
        with self._lock:
            self.check_open(transaction)
            self._close()

    def check_open(self, transaction: str | None) -> None:
        """Refuses a write without the open transaction's id (SDK: batchTransactions policy)."""
        self._writable()
        if transaction is None or transaction != self.open_transaction:
            raise ApiError(
                "MediaSetTransactionNotOpen",
                status=400,
                mediaSetRid=self.resource.rid,
                transactionId=transaction,
            )

    def _checked_rid(self, rid: str | None) -> str | None:
        if rid is None:
            return None
        if not ITEM_RID.fullmatch(rid):
            raise ApiError("InvalidMediaItemRid", mediaItemRid=rid, reason="format")
        if rid in self._items or rid in self.pending:
            raise ApiError("MediaItemRidAlreadyExists", mediaItemRid=rid)
        return rid

    def _writable(self) -> None:
        if not self.resource.writable:
            raise ApiError("PermissionDenied", mediaSetRid=self.resource.rid)

    def _drop(self, path: str) -> None:
        for rid, item in list(self._items.items()):
            if item.path == path:
                self.location(item).unlink(missing_ok=True)
                del self._items[rid]

    def _close(self) -> None:
        shutil.rmtree(self.store / "pending", ignore_errors=True)
        self.open_transaction, self.pending = None, {}

    def describe(self) -> dict[str, Any]:
        """As `MediaSet.get` shows it."""
        policy = "batchTransactions" if self.resource.writable else "noTransactions"
        return {
            "rid": self.resource.rid,
            "mediaSchema": "MULTIMODAL",
            "defaultBranchName": "master",
            "transactionPolicy": {"type": policy},
            "pathsRequired": True,
        }
