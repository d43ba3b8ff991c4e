"""Runs a pipeline module against the local platform until there is nothing left to do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import CmError
from foundry_cm.local.mounts import Mounts, pipeline_environment
from foundry_cm.local.platform.access import Tokens
from foundry_cm.local.platform.app import create_platform
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.faults import Faults
from foundry_cm.local.platform.registry import REGISTRY, Registry
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource
from foundry_cm.local.platform.tables import count_rows, hidden
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.site import Run, Site
from foundry_cm.module.resources import read_resources

STOP_SECONDS = 30.0
IDLE_POLLS = 2


def declared_resources(folder: Path) -> list[Resource]:
    """The inputs and outputs that a module declares; raises `CmError`."""
    declared = read_resources(folder)
    inputs = [Resource(alias, kind) for alias, kind in declared.inputs.items()]
    return inputs + [Resource(alias, kind, True) for alias, kind in declared.written.items()]


@dataclass(frozen=True, kw_only=True)
class Settings(Run):
    """How a pipeline is run; `data` and `outputs` lie below `root`."""

    root: Path
    faults: Sequence[str] = ()
    of_build: bool = False
    poll_seconds: float = 0.2


@dataclass(frozen=True)
class Moved:
    """What one run moved through one resource: rows or records, and where they lie."""

    resource: Resource
    rows: int
    folder: Path


class LocalPipeline:
    """The local platform and one replica of a pipeline module; an async context manager."""

    def __init__(self, settings: Settings, reporter: Reporter | None = None) -> None:
        self.settings = settings
        self.resources = declared_resources(settings.folder)
        self.kills = 0
        self._tokens = Tokens()
        self.faults = Faults(settings.faults)
        self.faults.on_kill = self._kill
        self.faults.on_expire = self._expire
        self._platform = create_platform(
            settings.root, self.resources, access=self._tokens, faults=self.faults
        )
        self._site = Site(settings, reporter or Reporter())
        self._began = time.perf_counter()
        self._before: dict[str, Any] = {}
        self._mounts: Mounts | None = None
        self._replica: Replica | None = None
        self._failure: CmError | None = None

    @property
    def registry(self) -> Registry:
        """The resources of the platform."""
        return self._platform[REGISTRY]

    async def __aenter__(self) -> LocalPipeline:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._site.stop_replicas(STOP_SECONDS)
        await self._site.close()

    async def _start(self) -> None:
        for resource in self.resources:
            self._before[resource.alias] = self._contents(resource)
        if self.settings.of_build:
            self._open_for_build()
        self._mounts = self._site.open()
        variables = pipeline_environment(
            self._mounts,
            platform=await self._site.listen(self._platform),
            token=self._tokens.pipeline,
            aliases=self.registry.alias_map(),
        )
        variables["POLL_SECONDS"] = str(self.settings.poll_seconds)
        self._replica = self._site.start_replica(
            variables, self._died, on_start=self.registry.activity.changed
        )

    async def idle(self) -> None:
        """Wait until the module has looked at every input again and found nothing more to do.

        Raises `CmError` when the module dies by itself.
        """
        inputs = [resource.alias for resource in self.resources if not resource.writable]
        while self.registry.activity.polls_since_change(inputs) < IDLE_POLLS or self._open():
            await asyncio.sleep(0.02)
            self.check()

    def check(self) -> None:
        """Raise the `CmError` of a module that has died by itself."""
        if self._failure:
            raise self._failure.again()

    async def finish(self) -> None:
        """Stop the module, and let the build that opened the transactions commit them."""
        await self._site.stop_replicas(STOP_SECONDS)
        for dataset in self._outputs():
            for transaction in dataset.history(DEFAULT_BRANCH):
                if transaction.status == "OPEN" and transaction.job:
                    dataset.commit(transaction.rid)

    def moved(self) -> list[Moved]:
        """What this run read and wrote, resource by resource."""
        activity = self.registry.activity
        found = []
        for resource in self.resources:
            if resource.writable:
                rows = self._new_rows(resource)
            elif resource.kind == "stream":
                rows = activity.records(resource.alias)
            elif resource.kind == "media_set":
                rows = len(activity.files_read.get(resource.alias, ()))
            else:
                rows = sum(map(count_rows, activity.files_read.get(resource.alias, ())))
            found.append(Moved(resource, rows, resource.folder(self.settings.root)))
        return found

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self._began

    def _outputs(self) -> list[OutputDataset]:
        found = [
            self.registry.dataset(resource.rid)
            for resource in self.resources
            if resource.writable and resource.kind == "dataset"
        ]
        return [dataset for dataset in found if isinstance(dataset, OutputDataset)]

    def _open(self) -> bool:
        """Whether the module has a transaction of its own open."""
        newest = (dataset.history(DEFAULT_BRANCH)[-1:] for dataset in self._outputs())
        return any(each.status == "OPEN" and not each.job for last in newest for each in last)

    def _open_for_build(self) -> None:
        for dataset in self._outputs():
            for transaction in dataset.history(DEFAULT_BRANCH):
                if transaction.status == "OPEN":
                    dataset.abort(transaction.rid)
            job = f"ri.foundry.main.job.{uuid.uuid4()}"
            dataset.open(DEFAULT_BRANCH, "APPEND", job=job)

    def _contents(self, resource: Resource) -> Any:
        """What an output holds: its files by name, or its ends."""
        if not resource.writable:
            return None
        if resource.kind == "stream":
            return self.registry.stream(resource.rid, DEFAULT_BRANCH).end_offsets()
        folder = resource.folder(self.settings.root)
        return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}

    def _new_rows(self, resource: Resource) -> int:
        before, now = self._before[resource.alias], self._contents(resource)
        if resource.kind == "stream":
            return int(sum(now.values()) - sum(before.values()))
        folder = resource.folder(self.settings.root)
        return sum(count_rows(folder / path) for path in now - before if not hidden(str(path)))

    async def _kill(self) -> None:
        self.kills += 1
        if self._replica:
            self._replica.kill()

    async def _expire(self) -> None:
        if self._mounts:
            self._mounts.write("BUILD2_TOKEN", self._tokens.rotate())

    def _died(self, _: int, error: CmError, __: float | None) -> None:
        self._failure = error


def total_bytes(registry: Registry) -> int:
    """The size of everything that the inputs hold."""
    files = (
        path
        for resource in registry.resources
        if not resource.writable
        for path in resource.folder(registry.root).rglob("*")
    )
    return sum(path.stat().st_size for path in files if path.is_file())


def read_bytes(registry: Registry) -> int:
    """The size of the input files that the module has asked for."""
    read = registry.activity.files_read.values()
    return sum(path.stat().st_size for paths in read for path in paths)
