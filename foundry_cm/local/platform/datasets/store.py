"""An output dataset: branches and transactions over plain files.

The files of an open transaction wait in `.cm/<transaction>/`. A commit is one rename, that of the
state file; after it the files are linked into `outputs/<alias>/`, and a start repeats a linking
that did not finish. Other branches are shown as `outputs/<alias>@<branch>/`.
"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import (
    DEFAULT_BRANCH,
    STATE_FOLDER,
    Resource,
    checked_branch,
    checked_path,
    iso,
    new_rid,
    now,
    read_json,
    write_json,
)

TYPES = ("APPEND", "UPDATE", "SNAPSHOT", "DELETE")


@dataclass(frozen=True)
class FileEntry:
    """A file of a dataset: where the API sees it and where it lies."""

    path: str
    transaction: str
    size: int
    updated: str
    location: Path


@dataclass
class Transaction:
    """One transaction; `job` is set when a build opened it."""

    rid: str
    type: str
    status: str
    created: str
    closed: str | None = None
    job: str | None = None
    files: dict[str, FileEntry] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {
            "rid": self.rid,
            "transactionType": self.type,
            "status": self.status,
            "createdTime": self.created,
            "closedTime": self.closed,
        }
        return {key: value for key, value in shown.items() if value is not None}


class OutputDataset:
    """Branches, transactions and files of one output."""

    def __init__(self, root: Path, resource: Resource) -> None:
        self.resource = resource
        self.folder = resource.folder(root)
        self.store = resource.state(root)
        self.schemas: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._branches: dict[str, list[str]] = {DEFAULT_BRANCH: []}
        self._transactions: dict[str, Transaction] = {}
        self._load()

    # Reading

    def branches(self) -> dict[str, str | None]:
        """Branch names with the last transaction of each, open ones left out."""
        return {name: self._head(name) for name in self._branches}

    def history(self, branch: str) -> list[Transaction]:
        """The transactions of a branch, oldest first, whatever their status."""
        return [self._transactions[rid] for rid in self._branch(branch)]

    def transaction(self, rid: str) -> Transaction:
        """The transaction of that name."""
        try:
            return self._transactions[rid]
        except KeyError:
            raise ApiError(
                "TransactionNotFound", datasetRid=self.resource.rid, transactionRid=rid
            ) from None

    def branch_of(self, rid: str) -> str:
        """The branch a transaction is on."""
        self.transaction(rid)
        return next(name for name, rids in self._branches.items() if rid in rids)

    def view(
        self, branch: str, start: str | None = None, end: str | None = None
    ) -> dict[str, FileEntry]:
        """Path to file: a branch's committed view, or that of a range of transactions.

        An open transaction is seen only when it is named as the end of the range.
        """
        rids = self._branch(branch)
        for rid in (start, end):
            if rid is not None and self.transaction(rid).rid not in rids:
                raise ApiError(
                    "TransactionNotFound", datasetRid=self.resource.rid, transactionRid=rid
                )
        first = rids.index(start) if start else 0
        last = rids.index(end) if end else len(rids) - 1
        files: dict[str, FileEntry] = {}
        for rid in rids[first : last + 1]:
            each = self._transactions[rid]
            if each.status == "COMMITTED" or (each.status == "OPEN" and rid == end):
                if each.type == "SNAPSHOT":
                    files = {}
                files.update(each.files)
                for path in each.deleted:
                    files.pop(path, None)
        return files

    # Writing

    def create_branch(self, name: str, transaction: str | None) -> None:
        """A branch that starts at a committed transaction, or empty."""
        with self._lock:
            checked_branch(name)
            if name in self._branches:
                raise ApiError("BranchAlreadyExists", datasetRid=self.resource.rid, branchName=name)
            rids: list[str] = []
            if transaction:
                known = self.transaction(transaction)
                if known.status != "COMMITTED":
                    raise self._state_error("TransactionNotCommitted", known)
                origin = self._branches[self.branch_of(transaction)]
                rids = [
                    rid
                    for rid in origin[: origin.index(transaction) + 1]
                    if self._transactions[rid].status == "COMMITTED"
                ]
            self._branches[name] = rids
            self._save()
            self._publish(name)

    def delete_branch(self, name: str) -> None:
        """Forgets a branch; the default one stays."""
        with self._lock:
            self._branch(name)
            if name == DEFAULT_BRANCH:
                raise ApiError(
                    "DeleteBranchPermissionDenied", datasetRid=self.resource.rid, branchName=name
                )
            del self._branches[name]
            self._save()
            shutil.rmtree(self._shown(name), ignore_errors=True)

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
            rids = self._branch(branch)
            if any(self._transactions[rid].status == "OPEN" for rid in rids):
                raise ApiError(
                    "OpenTransactionAlreadyExists",
                    datasetRid=self.resource.rid,
                    branchName=branch,
                )
            opened = Transaction(new_rid("transaction"), kind, "OPEN", now(), job=job)
            self._transactions[opened.rid] = opened
            rids.append(opened.rid)
            self._save()
            return opened

    def commit(self, rid: str) -> Transaction:
        """Makes the files of an open transaction the branch's, all of them in one step."""
        with self._lock:
            known = self._open(rid)
            branch = self.branch_of(rid)
            before = self.view(branch)
            clash = sorted(set(known.files) & set(before))
            if known.type == "APPEND" and clash:
                raise ApiError(
                    "FileAlreadyExists",
                    datasetRid=self.resource.rid,
                    transactionRid=rid,
                    path=clash[0],
                )
            known.status, known.closed = "COMMITTED", now()
            self._save()
            self._publish(branch)
            return known

    def abort(self, rid: str) -> Transaction:
        """Closes an open transaction and drops its files."""
        with self._lock:
            known = self._open(rid)
            known.status, known.closed, known.files, known.deleted = "ABORTED", now(), {}, []
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
            taken = {*known.files, *self.view(self.branch_of(rid))}
            if _blocked(path, taken):
                raise ApiError("InvalidFilePath", filePath=path)
            target = self.store / rid / path
            target.parent.mkdir(parents=True, exist_ok=True)
            received.replace(target)
            entry = _entry(path, rid, target)
            known.files[path] = entry
            return entry

    def delete(self, rid: str, path: str) -> None:
        """Takes a file out of the view, in a DELETE transaction."""
        with self._lock:
            known = self._open(rid)
            branch = self.branch_of(rid)
            if known.type != "DELETE":
                raise ApiError(
                    "InvalidTransactionType",
                    datasetRid=self.resource.rid,
                    transactionRid=rid,
                    transactionType=known.type,
                )
            if path not in self.view(branch):
                raise ApiError(
                    "FileNotFoundOnBranch",
                    datasetRid=self.resource.rid,
                    branchName=branch,
                    path=path,
                )
            known.deleted.append(path)
            self._save()

    def put_schema(self, branch: str, schema: dict[str, Any]) -> None:
        """Keeps the schema of a branch."""
        with self._lock:
            self.schemas[branch] = schema
            self._save()

    # State on disk

    def _load(self) -> None:
        state = read_json(self.store / "state.json", None)
        if state is None:
            return
        self._branches = state["branches"]
        self.schemas = state["schemas"]
        for rid, each in state["transactions"].items():
            base = self.store / rid
            paths = (
                each["files"]
                if each["status"] == "COMMITTED"
                else [path.relative_to(base).as_posix() for path in _walk(base)]
            )
            self._transactions[rid] = Transaction(
                rid=rid,
                type=each["type"],
                status=each["status"],
                created=each["created"],
                closed=each["closed"],
                job=each["job"],
                files={path: _entry(path, rid, base / path) for path in paths},
                deleted=each["deleted"],
            )
        shutil.rmtree(self.store / "receiving", ignore_errors=True)
        for branch in self._branches:
            self._publish(branch)

    def _save(self) -> None:
        transactions = {
            rid: {
                "type": each.type,
                "status": each.status,
                "created": each.created,
                "closed": each.closed,
                "job": each.job,
                "files": list(each.files),
                "deleted": each.deleted,
            }
            for rid, each in self._transactions.items()
        }
        write_json(
            self.store / "state.json",
            {
                "rid": self.resource.rid,
                "branches": self._branches,
                "schemas": self.schemas,
                "transactions": transactions,
            },
        )

    def _publish(self, branch: str) -> None:
        """Makes the branch's folder show its view: links what is new, removes what is gone."""
        shown = self._shown(branch)
        view = self.view(branch)
        shown.mkdir(parents=True, exist_ok=True)
        for file in _walk(shown):
            if file.relative_to(shown).as_posix() not in view:
                file.unlink()
        for path, entry in view.items():
            target = shown / path
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

    # Look-ups

    def _shown(self, branch: str) -> Path:
        if branch == DEFAULT_BRANCH:
            return self.folder
        return self.folder.with_name(f"{self.folder.name}@{branch}")

    def _branch(self, name: str) -> list[str]:
        checked_branch(name)
        try:
            return self._branches[name]
        except KeyError:
            raise ApiError(
                "BranchNotFound", datasetRid=self.resource.rid, branchName=name
            ) from None

    def _head(self, branch: str) -> str | None:
        closed = [
            rid for rid in self._branches[branch] if self._transactions[rid].status == "COMMITTED"
        ]
        return closed[-1] if closed else None

    def _open(self, rid: str) -> Transaction:
        known = self.transaction(rid)
        if known.status != "OPEN":
            raise self._state_error("TransactionNotOpen", known)
        return known

    def _state_error(self, name: str, known: Transaction) -> ApiError:
        return ApiError(
            name,
            datasetRid=self.resource.rid,
            transactionRid=known.rid,
            transactionStatus=known.status,
        )


def _entry(path: str, rid: str, location: Path) -> FileEntry:
    status = location.stat()
    return FileEntry(path, rid, status.st_size, iso(status.st_mtime), location)


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
