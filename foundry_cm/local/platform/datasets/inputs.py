"""An input dataset: the files that lie in `data/<alias>/`, seen as committed transactions.

Nothing is stored. A file is known by its path and its content, so a changed file is a new
transaction, and touching it or checking the folder out again is not.
"""

from __future__ import annotations

from pathlib import Path

from foundry_cm.local.platform.datasets.dataset import Dataset, FileEntry, Transaction
from foundry_cm.local.platform.digests import Digests
from foundry_cm.local.platform.resources import Resource, derived_rid


class InputDataset(Dataset):
    """Read-only: every write is refused, as for a token that may only write the outputs."""

    def __init__(self, root: Path, resource: Resource) -> None:
        super().__init__(root, resource)
        self.root = root
        self._digests = Digests()

    def transactions(self) -> list[Transaction]:
        """One transaction a file, oldest first."""
        found = [self._transaction(path) for path in self.resource.files(self.root)]
        return sorted(found, key=lambda each: (each.created, each.rid))

    def _transaction(self, path: Path) -> Transaction:
        name = path.relative_to(self.folder).as_posix()
        rid = derived_rid("transaction", self.resource.rid, name, self._digests.of(path))
        entry = FileEntry.of(name, rid, path)
        return Transaction(
            rid=rid,
            type="APPEND",
            status="COMMITTED",
            created=entry.updated,
            closed=entry.updated,
            files={name: entry},
        )
