"""Runs a pipeline module against the local platform until there is nothing left to do."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.foundry import LOOPBACK, bind
from foundry_cm.local.mounts import Mounts, pipeline_environment, renew_pipeline_token
from foundry_cm.local.platform import REGISTRY, Faults, Registry, Resource, Tokens, create_platform
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.resources import DEFAULT_BRANCH
from foundry_cm.local.platform.tables import count_rows, hidden
from foundry_cm.local.replica import Launch, Replica
from foundry_cm.local.sources import LocalSources
from foundry_cm.module.resources import read_resources

STOP_SECONDS = 30.0
IDLE_POLLS = 2


def declared_resources(folder: Path) -> list[Resource]:
    """The inputs and outputs that a module declares; raises `CmError`."""
    declared = read_resources(folder)
    inputs = [Resource(alias, kind) for alias, kind in declared.inputs.items()]
    return inputs + [Resource(alias, kind, True) for alias, kind in declared.written.items()]


@dataclass
class Options:
    """How a pipeline is run; `data` and `outputs` lie below `root`."""

    command: Sequence[str]
    folder: Path
    root: Path
    faults: Sequence[str] = ()
    of_build: bool = False
    poll_seconds: float = 0.2
    on_line: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True)
class Moved:
    """What one run moved through one resource: rows or records, and where they lie."""

    resource: Resource
    rows: int
    folder: Path


class LocalPipeline:
    """The local platform and one replica of a pipeline module; an async context manager."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.resources = declared_resources(options.folder)
        self.kills = 0
        self._tokens = Tokens()
        self.faults = Faults(options.faults)
        self.faults.on_kill = self._kill
        self.faults.on_expire = self._expire
        self._app = create_platform(
            options.root, self.resources, access=self._tokens, faults=self.faults
        )
        self._began = time.perf_counter()
        self._before: dict[str, Any] = {}
        self._folder: Path | None = None
        self._mounts: Mounts | None = None
        self._runner: web.AppRunner | None = None
        self._replica: Replica | None = None
        self._killed = False
        self._failure: CmError | None = None

    @property
    def registry(self) -> Registry:
        """The resources of the platform."""
        return self._app[REGISTRY]

    async def __aenter__(self) -> LocalPipeline:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._replica:
            await self._replica.stop(STOP_SECONDS)
        if self._runner:
            await self._runner.cleanup()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._mounts = self._runner = None

    async def _start(self) -> None:
        for resource in self.resources:
            self._before[resource.alias] = self._contents(resource)
        if self.options.of_build:
            self._open_for_build()
        self._folder = Path(tempfile.mkdtemp(prefix="cm-"))
        self._mounts = Mounts.create(self._folder / "mounts")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._mounts.authority.issue_cert("localhost", LOOPBACK).configure_cert(context)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listener = bind(0)
        await web.SockSite(self._runner, listener, ssl_context=context).start()
        variables = pipeline_environment(
            self._mounts,
            token=self._tokens.pipeline,
            aliases=self.registry.alias_map(),
            module_rid=f"ri.foundry.main.deployed-app.{uuid.uuid4()}",
            port=listener.getsockname()[1],
            sources=LocalSources.read(self.options.folder),
        )
        variables["POLL_SECONDS"] = str(self.options.poll_seconds)
        self._replica = Replica(
            0,
            Launch(self.options.command, variables),
            self.options.folder,
            restart=False,
            on_line=lambda _, text: self.options.on_line(text),
            on_death=self._died,
        )
        self._launch()

    def _launch(self) -> None:
        assert self._replica
        self._killed = False
        self.registry.activity.changed()
        self._replica.start()
        self._replica.declared = True

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
            raise self._failure

    async def finish(self) -> None:
        """Stop the module, and let the build that opened the transactions commit them."""
        if self._replica:
            await self._replica.stop(STOP_SECONDS)
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
            found.append(Moved(resource, rows, resource.folder(self.options.root)))
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
        folder = resource.folder(self.options.root)
        return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}

    def _new_rows(self, resource: Resource) -> int:
        before, now = self._before[resource.alias], self._contents(resource)
        if resource.kind == "stream":
            return int(sum(now.values()) - sum(before.values()))
        folder = resource.folder(self.options.root)
        return sum(count_rows(folder / path) for path in now - before if not hidden(str(path)))

    async def _kill(self) -> None:
        self._killed = True
        self.kills += 1
        if self._replica:
            self._replica.kill()

    async def _expire(self) -> None:
        if self._mounts:
            renew_pipeline_token(self._mounts, self._tokens.rotate())

    def _died(self, _: int, error: CmError, __: float | None) -> None:
        if self._killed:
            asyncio.get_running_loop().call_soon(self._launch)
        else:
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
