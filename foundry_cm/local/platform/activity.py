"""What a module has read and written, as the platform saw it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# Calls that follow each other faster than this are one look at the inputs, not several.
PAUSE_SECONDS = 0.1


@dataclass
class Activity:
    """Counts, and how long nothing has happened.

    A change is each read and each write. News is what was never read before, and each write: a module
    that reads all of its inputs again and again, as one without a memory does, changes and has no news.
    `looks` counts the calls since the last news that read or list an input and come after a pause.
    """

    lists: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    records_read: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    files_read: dict[str, set[Path]] = field(default_factory=dict)
    # What was asked of resources that lie in the real Foundry, by its address.
    relays: dict[str, set[str]] = field(default_factory=dict)
    # The most rows that one call got which asked for a part of a table: no file stands for them.
    rows_read: Counter[str] = field(default_factory=Counter)
    last_change: float = field(default_factory=time.monotonic)
    lists_at_change: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    last_news: float = field(default_factory=time.monotonic)
    last_call: float = field(default_factory=time.monotonic)
    _versions: set[tuple[Path, str]] = field(default_factory=set)

    def called(self) -> None:
        """A call came, or was answered."""
        self.last_call = time.monotonic()

    def listed(self, alias: str) -> None:
        """A poll of an input: nothing has moved."""
        self.lists[alias] += 1
        self._look()

    def read(self, alias: str, path: Path, version: str) -> None:
        """The content of a file was asked for, in that version of it."""
        self.files_read.setdefault(alias, set()).add(path)
        new = (path, version) not in self._versions
        self._versions.add((path, version))
        self._handed_out(new)

    def relayed(self, alias: str, address: str) -> None:
        """The content at an address of the real Foundry was asked for."""
        known = self.relays.setdefault(alias, set())
        new = address not in known
        known.add(address)
        self._handed_out(new)

    def read_rows(self, alias: str, rows: int) -> None:
        """So many rows of a table were asked for, and not all."""
        new = rows > self.rows_read[alias]
        self.rows_read[alias] = max(rows, self.rows_read[alias])
        self._handed_out(new)

    def read_records(self, alias: str, partition: str, start: int, stop: int) -> None:
        """Records `start` to `stop` of a partition were handed out, perhaps not for the first time."""
        if start == stop:
            return
        before = self.records_read.get((alias, partition))
        first, last = before or (start, stop)
        after = (min(first, start), max(last, stop))
        self.records_read[(alias, partition)] = after
        self._handed_out(after != before)

    def records(self, alias: str) -> int:
        """How many records of a stream were handed out, each counted once."""
        found = self.records_read.items()
        return sum(stop - start for (name, _), (start, stop) in found if name == alias)

    def wrote(self, alias: str) -> None:
        """Something was uploaded or published."""
        self.writes[alias] += 1
        self.news()

    def polls_since_change(self, aliases: Iterable[str]) -> int:
        """How often the least polled of these inputs was asked after the last change."""
        return min(
            (self.lists[alias] - self.lists_at_change[alias] for alias in aliases), default=0
        )

    def news(self) -> None:
        """Something happened, so looks count from here; a start of the module is such a thing."""
        self.looks = 0
        self.last_news = time.monotonic()
        self._change()

    def _handed_out(self, new: bool) -> None:
        if new:
            self.news()
        else:
            self._look()
            self._change()

    def _look(self) -> None:
        if time.monotonic() - self.last_call >= PAUSE_SECONDS:
            self.looks += 1
        self.called()

    def _change(self) -> None:
        self.last_change = time.monotonic()
        self.lists_at_change = Counter(self.lists)
        self.called()
