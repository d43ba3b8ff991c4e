"""Every resource of the platform by rid, and a record of what the module did with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.activity import Activity
from foundry_cm.local.platform.datasets.dataset import Dataset
from foundry_cm.local.platform.datasets.inputs import InputDataset
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.media.store import MediaSet
from foundry_cm.local.platform.ontologies.store import Ontology
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource, remove_tree
from foundry_cm.local.platform.streams.store import Stream


class Registry:
    """The resources of one module under one root folder, and the Ontology that it sees."""

    def __init__(self, root: Path, resources: Iterable[Resource]) -> None:
        self.root = root
        self.resources = list(resources)
        for resource in self.resources:
            resource.check(root)
        self.activity = Activity()
        # Set where the data of the module says of one.
        self.ontology: Ontology | None = None
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

    def forget(self) -> None:
        """Remove what the platform wrote in earlier runs; a file that somebody else put there stays."""
        for dataset in self._datasets.values():
            if isinstance(dataset, OutputDataset):
                dataset.forget()
        for stream in self._streams.values():
            stream.forget()
        for media_set in self._media_sets.values():
            media_set.forget()
        for resource in self.resources:
            remove_tree(resource.state(self.root), self.root)

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
