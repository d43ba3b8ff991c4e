"""Every resource of the platform by rid, and a record of what the module did with them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.datasets.dataset import Dataset
from foundry_cm.local.platform.datasets.inputs import InputDataset
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.media.store import MediaSet
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource
from foundry_cm.local.platform.streams.store import Stream


@dataclass
class Activity:
    """What the module has read and written, as the platform saw it."""

    lists: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    records_read: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    files_read: dict[str, set[Path]] = field(default_factory=dict)
    last_change: float = field(default_factory=time.monotonic)
    lists_at_change: Counter[str] = field(default_factory=Counter)

    def listed(self, alias: str) -> None:
        """A poll of an input: nothing has moved."""
        self.lists[alias] += 1

    def read(self, alias: str, path: Path) -> None:
        """A file's content was asked for."""
        self.files_read.setdefault(alias, set()).add(path)
        self.changed()

    def read_records(self, alias: str, partition: str, start: int, stop: int) -> None:
        """Records `start` to `stop` of a partition were handed out, perhaps not for the first time."""
        if start == stop:
            return
        first, last = self.records_read.get((alias, partition), (start, stop))
        self.records_read[(alias, partition)] = (min(first, start), max(last, stop))
        self.changed()

    def records(self, alias: str) -> int:
        """How many records of a stream were handed out, each counted once."""
        found = self.records_read.items()
        return sum(stop - start for (name, _), (start, stop) in found if name == alias)

    def wrote(self, alias: str) -> None:
        """Something was uploaded or published."""
        self.writes[alias] += 1
        self.changed()

    def polls_since_change(self, aliases: Iterable[str]) -> int:
        """How often the least polled of these inputs was asked after the last change."""
        return min(
            (self.lists[alias] - self.lists_at_change[alias] for alias in aliases), default=0
        )

    def changed(self) -> None:
        """Something happened, so polls count from here; a start of the module is such a thing."""
        self.last_change = time.monotonic()
        self.lists_at_change = Counter(self.lists)


class Registry:
    """The resources of one module under one root folder."""

    def __init__(self, root: Path, resources: Iterable[Resource]) -> None:
        self.root = root
        self.resources = list(resources)
        for resource in self.resources:
            resource.check(root)
        self.activity = Activity()
        self._datasets: dict[str, Dataset] = {}
        self._streams: dict[str, Stream] = {}
        self._media_sets: dict[str, MediaSet] = {}
        for resource in self.resources:
            if resource.kind == "media_set":
                self._media_sets[resource.rid] = MediaSet(root, resource)
            elif resource.kind == "stream":
                self._streams[resource.rid] = Stream(root, resource)
            elif resource.writable:
                self._datasets[resource.rid] = OutputDataset(root, resource)
            else:
                self._datasets[resource.rid] = InputDataset(root, resource)

    def dataset(self, rid: str) -> Dataset:
        """The dataset of that rid."""
        try:
            return self._datasets[rid]
        except KeyError:
            raise ApiError("DatasetNotFound", datasetRid=rid) from None

    def stream(self, rid: str, branch: str) -> Stream:
        """The stream of that rid; it has the default branch only."""
        if rid not in self._streams or branch != DEFAULT_BRANCH:
            raise ApiError("StreamNotFound", datasetRid=rid, streamBranchName=branch)
        return self._streams[rid]

    def media_set(self, rid: str) -> MediaSet:
        """The media set of that rid."""
        try:
            return self._media_sets[rid]
        except KeyError:
            raise ApiError("MediaSetNotFound", mediaSetRid=rid) from None

    def catalogue(self, most: int | None = None) -> list[dict[str, Any]]:
        """Each resource with its RID and its files, at most so many; an item has a RID of its own."""
        return [
            {
                "name": resource.alias,
                "kind": resource.kind,
                "rid": resource.rid,
                "files": [self._file(resource, path) for path in resource.files(self.root)[:most]],
            }
            for resource in self.resources
        ]

    def _file(self, resource: Resource, path: Path) -> dict[str, str]:
        shown = {"path": path.relative_to(resource.folder(self.root)).as_posix()}
        if media_set := self._media_sets.get(resource.rid):
            shown["rid"] = media_set.item_at(path).rid
        return shown

    def alias_map(self) -> dict[str, dict[str, str | None]]:
        """The content of the RESOURCE_ALIAS_MAP file."""
        return {
            resource.alias: {"rid": resource.rid, "branch": DEFAULT_BRANCH}
            for resource in self.resources
        }


REGISTRY = web.AppKey("registry", Registry)
