"""What inputs and outputs have in common: one branch, its transactions, and the files that they make up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource, iso


@dataclass(frozen=True)
class FileEntry:
    """A file of a dataset: where the API sees it and where it lies."""

    path: str
    transaction: str
    size: int
    updated: str
    location: Path

    @classmethod
    def of(cls, path: str, transaction: str, location: Path) -> FileEntry:
        """A file that lies there."""
        status = location.stat()
        return cls(path, transaction, status.st_size, iso(status.st_mtime), location)


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


class Dataset(ABC):
    """A dataset with its default branch, which is the only one."""

    def __init__(self, root: Path, resource: Resource) -> None:
        self.resource = resource
        self.folder = resource.folder(root)
        self.schema: dict[str, Any] | None = None

    @abstractmethod
    def transactions(self) -> list[Transaction]:
        """All transactions, oldest first, whatever their status."""

    def history(self, branch: str) -> list[Transaction]:
        """The transactions of a branch."""
        if branch != DEFAULT_BRANCH:
            raise ApiError("BranchNotFound", datasetRid=self.resource.rid, branchName=branch)
        return self.transactions()

    def head(self, branch: str) -> str | None:
        """The last committed transaction of a branch."""
        committed = [each.rid for each in self.history(branch) if each.status == "COMMITTED"]
        return committed[-1] if committed else None

    def transaction(self, rid: str) -> Transaction:
        """The transaction of that name."""
        return self._find(self.transactions(), rid)[1]

    def view(
        self, branch: str, start: str | None = None, end: str | None = None
    ) -> dict[str, FileEntry]:
        """Path to file: a branch's committed view, or that of a range of transactions.

        An open transaction is seen only when it is named as the end of the range.
        """
        history = self.history(branch)
        first = self._find(history, start)[0] if start else 0
        last = self._find(history, end)[0] if end else len(history) - 1
        files: dict[str, FileEntry] = {}
        for each in history[first : last + 1]:
            if each.status == "COMMITTED" or (each.status == "OPEN" and each.rid == end):
                if each.type == "SNAPSHOT":
                    files = {}
                files.update(each.files)
        return files

    def _find(self, transactions: list[Transaction], rid: str) -> tuple[int, Transaction]:
        for place, each in enumerate(transactions):
            if each.rid == rid:
                return place, each
        raise ApiError("TransactionNotFound", datasetRid=self.resource.rid, transactionRid=rid)
