"""Runs a pipeline module against the local platform until there is nothing left to do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.function.server import create_app
from foundry_cm.local.mounts import (
    Mounts,
    ReplicaIdentity,
    pipeline_environment,
    runtime_environment,
)
from foundry_cm.local.pipeline.no_calls import NoCalls
from foundry_cm.local.pipeline.rest import Rest
from foundry_cm.local.platform.access import Tokens
from foundry_cm.local.platform.app import create_platform
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.faults import Faults
from foundry_cm.local.platform.incidents import INCIDENTS, cannot_write, check_writable
from foundry_cm.local.platform.ontologies.edits import forget as forget_edits
from foundry_cm.local.platform.registry import REGISTRY, Registry
from foundry_cm.local.platform.relay import RELAY, Relay
from foundry_cm.local.platform.remote import declared_remote, remote_types
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, Resource
from foundry_cm.local.platform.tables import count_rows, hidden
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.site import Run, Site
from foundry_cm.module.resources import Declared, read_resources

STOP_SECONDS = 30.0
# For a module whose platform has failed: what it would still do fails as well.
BROKEN_SECONDS = 2.0


def declared_resources(declared: Declared) -> list[Resource]:
    """The inputs and outputs that a module declares."""
    inputs = [
        Resource(alias, "dataset", is_reference=True)
        if kind == "reference"
        else Resource(alias, kind)
        for alias, kind in declared.inputs.items()
    ]
    return inputs + [Resource(alias, kind, True) for alias, kind in declared.written.items()]


@dataclass(frozen=True, kw_only=True)
class Settings(Run):
    """How a pipeline is run; `data` and `outputs` lie below `root`."""

    root: Path
    faults: Sequence[str] = ()
    of_build: bool = False
    poll_seconds: float = 0.2
    # Of the platform; 0 takes any free one.
    port: int = 0
    # Whether the next free port will do where another program has that one.
    or_next: bool = False
    # Whether to begin again: what earlier runs wrote is removed.
    fresh: bool = False


@dataclass(frozen=True)
class Moved:
    """What one run moved through one resource: rows, records or remote reads, and where they lie."""

    resource: Resource
    rows: int
    folder: Path


class LocalPipeline:
    """The local platform and one replica of a pipeline module; an async context manager."""

    def __init__(self, settings: Settings, reporter: Reporter | None = None) -> None:
        self.settings = settings
        declared = read_resources(settings.folder)
        self.resources = declared_remote(declared_resources(declared), settings.remote)
        self.kills = self.reloads = 0
        self.address = ""
        self.ended = False
        self._tokens = Tokens()
        self._shared = self._tokens.share() if settings.scratch else {}
        self.faults = Faults(settings.faults)
        self.faults.on_kill = self._kill
        self.faults.on_expire = self._expire
        self._reporter = reporter or Reporter()
        self._platform = self._create_platform()
        inputs = [each.alias for each in self.resources if not (each.writable or each.is_reference)]
        # The output for records that fail, where the module has one.
        self.errors_alias = declared.errors
        self.paced = declared.poll_seconds is not None
        self.rested = False
        self._rest = Rest(self.registry.activity, inputs, paced=self.paced)
        self._site = Site(settings, self._reporter)
        self._began = time.perf_counter()
        self._before: dict[str, Any] = {}
        self._mounts: Mounts | None = None
        self._replica: Replica | None = None
        self._failure: CmError | None = None

    @property
    def registry(self) -> Registry:
        """The resources of the platform."""
        return self._platform[REGISTRY]

    @property
    def relay(self) -> Relay | None:
        """The way to those inputs that lie in the real Foundry, where there are any."""
        return self._platform.get(RELAY)

    async def __aenter__(self) -> LocalPipeline:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        broken = self._platform[INCIDENTS].failure
        await self._site.stop_replicas(BROKEN_SECONDS if broken else STOP_SECONDS)
        await self._site.close()

    def _create_platform(self) -> web.Application:
        """The platform, once its outputs can be written; raises `CmError`."""
        settings, outputs = self.settings, [each for each in self.resources if each.writable]
        try:
            for resource in outputs:
                resource.check(settings.root)
                check_writable(resource.state(settings.root), settings.root)
            if settings.fresh:
                Registry(settings.root, self.resources).forget()
                forget_edits(settings.root)
            platform = create_platform(
                settings.root,
                self.resources,
                access=self._tokens,
                faults=self.faults,
                keep_edits=True,
                object_types=remote_types(settings.remote),
            )
        except OSError as error:
            raise cannot_write(error, settings.root) from None
        platform[INCIDENTS].on_unknown = self._reporter.noted
        return platform

    async def _start(self) -> None:
        for resource in self.resources:
            self._before[resource.alias] = self._contents(resource)
        if self.settings.of_build:
            try:
                self._open_for_build()
            except OSError as error:
                raise cannot_write(error, self.settings.root) from None
        self._mounts = await self._site.open()
        identity = ReplicaIdentity(0)
        runtime = await self._site.listen(create_app(NoCalls(identity)), handler_cancellation=True)
        self.address = await self._site.listen(
            self._platform, self.settings.port, or_next=self.settings.or_next
        )
        if relay := self.relay:
            await relay.check()
        variables = runtime_environment(self._mounts, identity, runtime=runtime, concurrency=1)
        variables |= pipeline_environment(
            self._mounts,
            platform=self.address,
            token=self._tokens.pipeline,
            aliases=self.registry.alias_map(),
        )
        variables |= self._shared
        variables["POLL_SECONDS"] = str(self.settings.poll_seconds)
        self._replica = self._site.start_replica(
            variables, self._died, on_start=self.registry.activity.news
        )

    async def reload(self) -> None:
        """Restart the module as it is now; what it had not committed it does again."""
        if self._replica:
            self.reloads += 1
            await self._replica.stop(STOP_SECONDS)
            self._failure, self.ended = None, False
            self._replica.start()

    async def idle(self) -> None:
        """Wait until the module has nothing left to do: it rests, or it has ended with code 0.

        Raises `CmError` when the module dies by itself.
        """
        while not self.ended and (self.left_open() or not self._rests()):
            await asyncio.sleep(0.02)
            self.check()

    def check(self) -> None:
        """Raise the `CmError` of a platform that cannot go on, or of a module that died by itself."""
        if self.failure:
            raise self.failure.again()

    @property
    def failure(self) -> CmError | None:
        """Why it cannot go on, where that is so."""
        return self._platform[INCIDENTS].failure or self._failure

    async def finish(self) -> None:
        """Stop the module, and let the build that opened the transactions commit them."""
        await self._site.stop_replicas(STOP_SECONDS)
        self.check()
        for dataset in self._outputs():
            for transaction in dataset.history(DEFAULT_BRANCH):
                if transaction.status == "OPEN" and transaction.job:
                    self._commit(dataset, transaction.rid)

    def _commit(self, dataset: OutputDataset, rid: str) -> None:
        """Commit as the build does; raises the `CmError` of one that cannot be committed."""
        try:
            dataset.commit(rid)
        except OSError as error:
            raise cannot_write(error, self.settings.root) from None
        except ApiError as error:
            told = ", ".join(f"{name} {value}" for name, value in error.parameters.items())
            raise CmError(
                f"The build cannot commit the output {dataset.resource.alias}: {error.name}",
                where=str(dataset.folder),
                details=f"  {told}",
                code="NotCommitted",
            ) from None

    def moved(self) -> list[Moved]:
        """What this run read and wrote, resource by resource."""
        activity = self.registry.activity
        found = []
        for resource in self.resources:
            if resource.writable:
                rows = self._new_rows(resource)
            elif resource.remote:
                rows = len(activity.relays.get(resource.alias, ()))
            elif resource.kind == "stream":
                rows = activity.records(resource.alias)
            elif resource.kind == "media_set":
                rows = len(activity.files_read.get(resource.alias, ()))
            else:
                files = activity.files_read.get(resource.alias, ())
                rows = max(sum(map(count_rows, files)), activity.rows_read[resource.alias])
            found.append(Moved(resource, rows, resource.folder(self.settings.root)))
        return found

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self._began

    @property
    def silent_seconds(self) -> float:
        """For how long the module has called nothing."""
        return time.monotonic() - self.registry.activity.last_call

    def _outputs(self) -> list[OutputDataset]:
        found = [
            self.registry.dataset(resource.rid)
            for resource in self.resources
            if resource.writable and resource.kind == "dataset"
        ]
        return [dataset for dataset in found if isinstance(dataset, OutputDataset)]

    def left_open(self) -> list[str]:
        """The outputs on which the module has a transaction of its own open."""
        return [
            dataset.resource.alias
            for dataset in self._outputs()
            for newest in dataset.history(DEFAULT_BRANCH)[-1:]
            if newest.status == "OPEN" and not newest.job
        ]

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

    def kill(self) -> None:
        """End the process of the module without warning; where nobody stops it, another starts at once."""
        if self._replica:
            self._replica.kill()

    async def _kill(self) -> None:
        self.kills += 1
        self.kill()

    async def _expire(self) -> None:
        if self._mounts:
            self._mounts.write("BUILD2_TOKEN", self._tokens.rotate())

    def _died(self, _: int, error: CmError, __: float | None) -> None:
        # One that ends with 0 has done what it had to do.
        self.ended = self._replica is not None and self._replica.exit_code == 0
        if not self.ended:
            self._failure = error

    def _rests(self) -> bool:
        self.rested = self.at_rest()
        return self.rested

    def at_rest(self) -> bool:
        """Whether the module has looked at its inputs again, and nothing was new."""
        return self._rest.reached(self._replica.pid if self._replica else None)

    @property
    def replicas(self) -> list[Replica]:
        """The one replica, once it was started."""
        return self._site.replicas


def total_bytes(registry: Registry) -> int:
    """The size of everything that the inputs hold."""
    inputs = [resource for resource in registry.resources if not resource.writable]
    return sum(_size(path) for each in inputs for path in each.files(registry.root))


def read_bytes(registry: Registry) -> int:
    """The size of the input files that the module has asked for."""
    return sum(_size(path) for paths in registry.activity.files_read.values() for path in paths)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone meanwhile
        return 0
