"""An output dataset: transactions over plain files.

The files of an open transaction wait in `.cm/<transaction>/`. A commit is one rename, that of the
state file; after it the files are linked into `outputs/<alias>/`, and a start repeats a linking
that did not finish.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from foundry_cm.local.platform.datasets.dataset import Dataset, FileEntry, Transaction
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import (
    DEFAULT_BRANCH,
    STATE_FOLDER,
    Resource,
    checked_path,
    new_rid,
    now,
    read_state,
    remove_file,
    write_json,
)

TYPES = ("APPEND", "UPDATE", "SNAPSHOT")


class _Kept(msgspec.Struct):
    """A transaction as it is kept."""

    type: Literal["APPEND", "UPDATE", "SNAPSHOT"]
    status: Literal["OPEN", "COMMITTED", "ABORTED"]
    created: str
    closed: str | None
    job: str | None
    files: list[str]

    def __post_init__(self) -> None:
        for path in self.files:
            checked_path(path)


class _State(msgspec.Struct):
    """What is kept of an output."""

    schema: dict[str, Any] | None
    transactions: dict[Annotated[str, msgspec.Meta(pattern=r"^ri\.[\w.-]+$")], _Kept]


class OutputDataset(Dataset):
    """Transactions and files of one output."""

    def __init__(self, root: Path, resource: Resource) -> None:
        super().__init__(root, resource)
        self.root = root
        self.store = resource.state(root)
        self._lock = threading.RLock()
        self._transactions: dict[str, Transaction] = {}
        self._load()

    def transactions(self) -> list[Transaction]:
        """All transactions, oldest first."""
        return list(self._transactions.values())

    def open(self, branch: str, kind: str, job: str | None = None) -> Transaction:
        """Opens a transaction; one at a time on a branch (SDK: OpenTransactionAlreadyExists)."""
        with self._lock:
            if kind not in TYPES:
                raise ApiError(
                    "InvalidTransactionType",
                    datasetRid=self.resource.rid,
                    transactionRid="",
                    transactionType=kind,
                )
            if any(each.status == "OPEN" for each in self.history(branch)):
                raise ApiError(
                    "OpenTransactionAlreadyExists",
                    datasetRid=self.resource.rid,
                    branchName=branch,
                )
            opened = Transaction(new_rid("transaction"), kind, "OPEN", now(), job=job)
            self._transactions[opened.rid] = opened
            self._save()
            return opened

    def commit(self, rid: str) -> Transaction:
        """Makes the files of an open transaction the branch's, all of them in one step."""
        with self._lock:
            known = self._open(rid)
            clash = sorted(set(known.files) & set(self.view(DEFAULT_BRANCH)))
            if known.type == "APPEND" and clash:
                raise ApiError(
                    "FileAlreadyExists",
                    datasetRid=self.resource.rid,
                    transactionRid=rid,
                    path=clash[0],
                )
            known.status, known.closed = "COMMITTED", now()
            self._save()
            self._publish()
            return known

    def abort(self, rid: str) -> Transaction:
        """Closes an open transaction and drops its files."""
        with self._lock:
            known = self._open(rid)
            known.status, known.closed, known.files = "ABORTED", now(), {}
            self._save()
            shutil.rmtree(self.store / rid, ignore_errors=True)
            return known

    def staging(self) -> Path:
        """A fresh file to receive an upload; it becomes visible with `add`."""
        folder = self.store / "receiving"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / new_rid("upload")

    def add(self, rid: str, path: str, received: Path) -> FileEntry:
        """Puts a received file into an open transaction; a second one at a path is refused."""
        with self._lock:
            known = self._open(rid)
            checked_path(path)
            if path in known.files:
                raise ApiError(
                    "FileAlreadyExists",
                    datasetRid=self.resource.rid,
                    transactionRid=rid,
                    path=path,
                )
            if _blocked(path, {*known.files, *self.view(DEFAULT_BRANCH)}):
                raise ApiError("InvalidFilePath", filePath=path)
            target = self.store / rid / path
            target.parent.mkdir(parents=True, exist_ok=True)
            received.replace(target)
            known.files[path] = FileEntry.of(path, rid, target)
            return known.files[path]

    def put_schema(self, schema: dict[str, Any]) -> None:
        """Keeps the schema of the branch."""
        with self._lock:
            self.schema = schema
            self._save()

    def forget(self) -> None:
        """Remove what was linked into the output's folder, but for what somebody has changed since."""
        for each in self.transactions():
            for path, entry in each.files.items():
                shown = self.folder / path
                if shown.is_file() and _same(shown, entry.location):
                    remove_file(shown, self.root)

    # State on disk

    def _load(self) -> None:
        state = read_state(self.store / "state.json", _State)
        if state is None:
            return
        self.schema = state.schema
        for rid, each in state.transactions.items():
            base = self.store / rid
            paths = each.files
            if each.status != "COMMITTED":
                paths = [path.relative_to(base).as_posix() for path in _walk(base)]
            # One that somebody has removed is gone.
            there = [path for path in paths if _is_plain(base / path)]
            self._transactions[rid] = Transaction(
                rid=rid,
                type=each.type,
                status=each.status,
                created=each.created,
                closed=each.closed,
                job=each.job,
                files={path: FileEntry.of(path, rid, base / path) for path in there},
            )
        shutil.rmtree(self.store / "receiving", ignore_errors=True)
        self._publish()

    def _save(self) -> None:
        transactions = {
            rid: {
                "type": each.type,
                "status": each.status,
                "created": each.created,
                "closed": each.closed,
                "job": each.job,
                "files": list(each.files),
            }
            for rid, each in self._transactions.items()
        }
        write_json(
            self.store / "state.json",
            {"rid": self.resource.rid, "schema": self.schema, "transactions": transactions},
        )

    def _publish(self) -> None:
        """Makes the output's folder show the view: links what is new, removes what we linked before.

        A file that somebody else put there stays.
        """
        view = self.view(DEFAULT_BRANCH)
        self.folder.mkdir(parents=True, exist_ok=True)
        for each in self.transactions():
            for path, entry in each.files.items():
                shown = self.folder / path
                if path not in view and shown.exists() and _same(shown, entry.location):
                    shown.unlink()
        for path, entry in view.items():
            target = self.folder / path
            if target.exists() and _same(target, entry.location):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.linking")
            temporary.unlink(missing_ok=True)
            try:
                os.link(entry.location, temporary)
            except OSError:
                shutil.copy2(entry.location, temporary)
            temporary.replace(target)

    def _open(self, rid: str) -> Transaction:
        known = self.transaction(rid)
        if known.status != "OPEN":
            raise ApiError(
                "TransactionNotOpen",
                datasetRid=self.resource.rid,
                transactionRid=known.rid,
                transactionStatus=known.status,
            )
        return known


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _same(one: Path, other: Path) -> bool:
    """Whether two names show one content: a link, or where links fail the copy made of it."""
    first, second = one.stat(), other.stat()
    stamps = [(each.st_size, each.st_mtime_ns) for each in (first, second)]
    return one.samefile(other) or stamps[0] == stamps[1]


def _blocked(path: str, taken: set[str]) -> bool:
    """Whether a path needs a folder where a file is, or the other way round."""
    parents = {str(parent) for parent in PurePosixPath(path).parents}
    return bool(parents & taken) or any(other.startswith(path + "/") for other in taken)


def _walk(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != STATE_FOLDER
    ]
