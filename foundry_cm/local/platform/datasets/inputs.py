"""An input dataset: the files that lie in `data/<alias>/`, seen as committed transactions.

Nothing is stored. A file is known by its path and its content, so a changed file is a new
transaction, and touching it or checking the folder out again is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foundry_cm.local.platform.datasets.store import FileEntry, Transaction
from foundry_cm.local.platform.digests import Digests
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource, derived_rid, iso


class InputDataset:
    """Read-only: every write is refused, as for a token that may only write the outputs."""

    def __init__(self, root: Path, resource: Resource) -> None:
        self.resource = resource
        self.root = root
        self.folder = resource.folder(root)
        self.schemas: dict[str, Any] = {}
        self._digests = Digests()

    def branches(self) -> dict[str, str | None]:
        """Branch names with the last transaction of each."""
        history = self.history(DEFAULT_BRANCH)
        return {DEFAULT_BRANCH: history[-1].rid if history else None}

    def history(self, branch: str) -> list[Transaction]:
        """One transaction a file, oldest first."""
        self._check(branch)
        found = [self._transaction(path) for path in self.resource.files(self.root)]
        return sorted(found, key=lambda each: (each.created, each.rid))

    def transaction(self, rid: str) -> Transaction:
        """The transaction of that name."""
        for each in self.history(DEFAULT_BRANCH):
            if each.rid == rid:
                return each
        raise ApiError("TransactionNotFound", datasetRid=self.resource.rid, transactionRid=rid)

    def branch_of(self, rid: str) -> str:
        """The branch a transaction is on."""
        self.transaction(rid)
        return DEFAULT_BRANCH

    def view(
        self, branch: str, start: str | None = None, end: str | None = None
    ) -> dict[str, FileEntry]:
        """Path to file for a branch, or for a range of its transactions."""
        history = self.history(branch)
        rids = [each.rid for each in history]
        first = rids.index(self.transaction(start).rid) if start else 0
        last = rids.index(self.transaction(end).rid) if end else len(rids) - 1
        files: dict[str, FileEntry] = {}
        for each in history[first : last + 1]:
            files.update(each.files)
        return files

    def refuse(self, name: str, **parameters: Any) -> ApiError:
        """The error for a write."""
        return ApiError(name, status=403, datasetRid=self.resource.rid, **parameters)

    def _check(self, branch: str) -> None:
        if branch != DEFAULT_BRANCH:
            raise ApiError("BranchNotFound", datasetRid=self.resource.rid, branchName=branch)

    def _transaction(self, path: Path) -> Transaction:
        status = path.stat()
        name = path.relative_to(self.folder).as_posix()
        rid = derived_rid("transaction", self.resource.rid, name, self._digests.of(path))
        entry = FileEntry(name, rid, status.st_size, iso(status.st_mtime), path)
        return Transaction(
            rid=rid,
            type="APPEND",
            status="COMMITTED",
            created=iso(status.st_mtime),
            closed=iso(status.st_mtime),
            files={name: entry},
        )
