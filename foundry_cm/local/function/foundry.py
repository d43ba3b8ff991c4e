"""A module that answers calls: its replicas, the queue before them, and what becomes of each call."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.function.hints import worker_died
from foundry_cm.local.function.jobs import JobQueue
from foundry_cm.local.function.server import create_app
from foundry_cm.local.mounts import ReplicaIdentity, function_environment
from foundry_cm.local.platform.access import Tokens, guarded
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.site import Run, Site, is_pipeline
from foundry_cm.module.functions import Function, half_pair, read_result
from foundry_cm.module.project import Project
from foundry_cm.module.resources import FILE as RESOURCES

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Settings(Run):
    """How a module is run: all that `cm serve` lets its user choose."""

    replicas: int = 1
    concurrency: int = 1
    # The field guide's figure for one call, each way; Foundry publishes none.
    max_megabytes: float = 100.0
    # Calls through TypeScript functions must take less than five minutes (foundry docs: functions).
    timeout_seconds: float = 300.0
    port: int = 0
    restart: bool = True
    # Whether it has application permissions: then it sees what lies in `data/` on the platform.
    application: bool = False
    # The kinds of the folders there that are said, and not found by what they hold.
    data: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project, **chosen: Any) -> Settings:
        """What `pyproject.toml` says of a module, but for what is chosen here."""
        asked: dict[str, Any] = {
            "folder": project.folder,
            "max_megabytes": project.max_megabytes,
            "timeout_seconds": project.timeout_seconds,
            "application": project.application,
            "data": project.data,
        }
        return cls(**(asked | chosen))


def check_mode(folder: Path) -> None:
    """Raise `CmError` where the module in a folder is known to be a pipeline."""
    if is_pipeline(folder):
        raise CmError(
            f"This module is a pipeline, which answers no calls: {RESOURCES} names its inputs "
            "and outputs",
            where=str(folder),
            fix="A pipeline is run by: cm run",
            code="NotAFunction",
            exit_code=USAGE,
        )


@dataclass(frozen=True)
class CallResult:
    """The answer to a call; times in seconds, as seen by the local Foundry."""

    value: Any
    job_id: str
    replica: int
    seconds: float
    queued_seconds: float


class LocalFoundry:
    """Runs a module and calls its functions; use it as an async context manager.

    Raises `CmError` for a pipeline, which answers no calls and would be started for ever.
    `address` is the host and port of the runtime; `registry` has what the module may read on the
    platform, where it may read anything.
    """

    def __init__(self, settings: Settings, reporter: Reporter | None = None) -> None:
        check_mode(settings.folder)
        self.settings = settings
        self.reporter = reporter or Reporter()
        self.jobs = JobQueue(settings.concurrency)
        self.max_bytes = int(settings.max_megabytes * 1e6)
        self.functions: dict[str, Function] = {}
        self.schemas: list[Any] | None = None
        self.address = ""
        self.tokens = Tokens()
        self.registry: Registry | None = None
        self._site = Site(settings, self.reporter)
        self._modules: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None

    @property
    def replicas(self) -> list[Replica]:
        """The replicas, by their numbers."""
        return self._site.replicas

    async def __aenter__(self) -> LocalFoundry:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        credentials = self.tokens.register() if self.settings.application else {}
        platform = self._platform()
        mounts = self._site.open()
        # A poll is cancelled when its replica hangs up, so that no job goes to a dead process.
        self.address = await self._site.listen(
            create_app(self), self.settings.port, handler_cancellation=True
        )
        platform_address = await self._site.listen(platform)
        for index in range(self.settings.replicas):
            identity = ReplicaIdentity(index)
            self._modules[identity.token] = index
            variables = function_environment(
                mounts,
                identity,
                runtime=self.address,
                platform=platform_address,
                concurrency=self.settings.concurrency,
            )
            self._site.start_replica(
                variables | credentials,
                self._died,
                restart=self.settings.restart,
                declares=True,
            )
        self._watch = asyncio.create_task(self._watch_workers())

    def _platform(self) -> web.Application:
        """The platform as the module sees it: with its data, or closed to a module without permissions."""
        if not self.settings.application:
            return guarded(self.tokens)
        # Loaded only here: most modules have no use for the platform.
        from foundry_cm.local.platform.app import create_platform
        from foundry_cm.local.platform.data import data_resources
        from foundry_cm.local.platform.registry import REGISTRY

        folder = self.settings.folder
        resources = data_resources(folder, self.settings.data)
        platform = create_platform(folder, resources, access=self.tokens)
        self.registry = platform[REGISTRY]
        return platform

    async def _stop(self) -> None:
        if self._watch:
            self._watch.cancel()
        gone = CmError("The local Foundry was stopped", code="Stopped")
        for replica in self.replicas:
            self.jobs.drop(replica.index, gone)
        self.jobs.drop_queued(gone)
        await self._site.close()

    async def reload(self, why: str) -> None:
        """Start every replica anew; calls that one of them holds are answered with an error."""
        for replica in self.replicas:
            await replica.stop()
            self.jobs.drop(replica.index, CmError(f"The call was cut off: {why}", code="Reloaded"))
            replica.start()

    # What the routes report (see `server.Runtime`).

    def replica_of(self, token: str) -> int | None:
        """The replica that a module token belongs to."""
        return self._modules.get(token)

    def polled(self, replica: int) -> None:
        """A replica asks for work: from now on it is responsive."""
        if not self.replicas[replica].responsive:
            self.replicas[replica].responsive = True
            self.replicas[replica].workers = self.replicas[replica].live_workers()
            self._notify()

    def declared(self, replica: int, schemas: list[Any]) -> None:
        """A replica posted the schemas of its functions; a broken one is reported as its death is."""
        self.replicas[replica].declared = True
        try:
            functions = [Function(schema) for schema in schemas]
        except CmError as error:
            self.reporter.died(replica, error, None)
            return
        warnings = [text for function in functions for text in function.warnings()]
        if early := self.replicas[replica].early_traceback():
            warnings.insert(
                0,
                f"the module raised while it was imported ({early.summary}, {early.where}) and the SDK "
                "started it all the same: functions may be missing",
            )
        if not functions:
            warnings.append("the module declares no functions")
        if schemas != self.schemas or warnings:
            self.reporter.declared(functions, warnings)
        self.schemas = schemas
        self.functions = {function.name: function for function in functions}
        self._notify()

    def restarted(self, replica: int) -> list[str]:
        """A replica says that it starts anew: whatever its last process held is answered."""
        return self.jobs.drop(
            replica, CmError("The module restarted while it held this call", code="ModuleDied")
        )

    # Calls.

    async def ready(self, seconds: float | None = None) -> None:
        """Wait until a replica asks for work.

        Raises `CmError` as soon as no replica is left to wait for, or after `seconds`.
        """
        limit = self.settings.timeout_seconds if seconds is None else seconds
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(self._ready_or_failed), limit)
        except TimeoutError:
            raise CmError(
                f"The module did not ask for work within {limit:g} s",
                fix="Its last line must start the SDK: start_compute_module() or the template's start().",
                code="NotReady",
            ) from None

    def _ready_or_failed(self) -> bool:
        if any(replica.responsive for replica in self.replicas):
            return True
        if not any(replica.alive for replica in self.replicas):
            for replica in self.replicas:
                if replica.failure:
                    raise replica.failure.again()
        return False

    async def call(self, name: str, event: Any, timeout: float | None = None) -> CallResult:
        """Call a function as Foundry would.

        Raises `CmError`: `UnknownFunction` and the refusals of the event (usage), and `ModuleDied`,
        `HandlerFailed`, `InvalidResult`, `ResultTooLarge`, `TimedOut` (failure).
        """
        limit = self.settings.timeout_seconds if timeout is None else timeout
        began = time.perf_counter()
        await self.ready(limit)
        function = self._function(name)
        self._check_event(function, event)
        job = self.jobs.submit(name, event)
        try:
            done, _ = await asyncio.wait(
                {job.answer}, timeout=max(0.0, limit - (time.perf_counter() - began))
            )
        except asyncio.CancelledError:
            self.jobs.give_up(job)
            raise
        if not done:
            self.jobs.give_up(job)
            error = self._timed_out(job.replica, limit)
            self._free_stuck(name, job.replica)
            raise error
        posted = job.answer.result()
        ended = time.perf_counter()
        started = job.started_at or ended
        return CallResult(
            value=read_result(function, posted.body, posted.chunks),
            job_id=job.id,
            replica=job.replica or 0,
            seconds=ended - started,
            queued_seconds=started - job.queued_at,
        )

    def _function(self, name: str) -> Function | None:
        """The declared function, or None where the module declares none at all."""
        if self.schemas is None:
            return None
        if name not in self.functions:
            raise CmError(
                f'The module has no function "{name}"',
                fix=near_miss(name, self.functions),
                code="UnknownFunction",
                exit_code=USAGE,
            )
        return self.functions[name]

    def _check_event(self, function: Function | None, event: Any) -> None:
        try:
            size = len(json.dumps(event, ensure_ascii=False, allow_nan=False).encode())
        except UnicodeEncodeError:
            raise CmError(
                f"{half_pair(event)} holds half of a surrogate pair, which is no text",
                code="InvalidEvent",
                exit_code=USAGE,
            ) from None
        except (ValueError, RecursionError):
            raise CmError(
                "The event is not JSON: it holds a number that JSON lacks, or is nested too deeply",
                code="InvalidEvent",
                exit_code=USAGE,
            ) from None
        if size > self.max_bytes:
            raise event_too_large(f"has {size / 1e6:.1f} MB,", self.max_bytes)
        if function:
            function.check_event(event)

    def _timed_out(self, replica: int | None, limit: float) -> CmError:
        if replica is None:
            busy = sum(len(self.jobs.held(r.index)) for r in self.replicas)
            return CmError(
                f"No replica was free within {limit:g} s: {busy} jobs run, {self.jobs.queued} wait",
                fix="Raise --replicas or --concurrency, or make the calls shorter.",
                code="TimedOut",
            )
        return CmError(
            f"No answer within {limit:g} s, though the module is still running",
            fix="If every call hangs: a model loaded before the SDK forks its process pool does that; "
            "start with ConcurrencyType.THREAD_POOL.",
            code="TimedOut",
        )

    # Deaths.

    def _died(self, index: int, error: CmError, delay: float | None) -> None:
        self.jobs.drop(index, error)
        if not any(replica.alive for replica in self.replicas):
            self.jobs.drop_queued(error)
        self.reporter.died(index, error, delay)
        self._notify()

    def _free_stuck(self, function: str, index: int | None) -> None:
        """Start a replica again that is full of calls whose callers no longer wait.

        Kinder than Foundry on purpose: there such a replica can be busy for up to 22 hours.
        """
        if index is None or not self.settings.restart:
            return
        replica, held = self.replicas[index], self.jobs.held(index)
        full = len(held) >= self.settings.concurrency
        if full and all(job.answer.cancelled() for job in held) and not replica.debugged:
            stuck = CmError(
                f"Replica {index} is stuck in {function}: nobody waits for its calls any more",
                fix="Let the handler give up in time: Foundry itself may wait for up to 22 hours.",
                code="Stuck",
            )
            replica.kill()
            self.jobs.hang_up(index)
            self.jobs.drop(index, stuck)
            self.reporter.died(index, stuck, 0)

    async def _watch_workers(self) -> None:
        """Answer the jobs of a replica whose pool of worker processes died under it.

        The SDK's default pool starts new workers and forgets the job (measured with SDK 0.34);
        Foundry would wait for its answer for up to 22 hours (README of the SDK).
        """
        while True:
            await asyncio.sleep(1)
            for replica in self.replicas:
                if not replica.responsive:
                    continue
                workers = replica.live_workers()
                if not self.jobs.held(replica.index):
                    replica.workers = workers
                elif replica.workers and not replica.workers & workers:
                    replica.workers = workers
                    self.jobs.drop(replica.index, worker_died())

    def _notify(self) -> None:
        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._wake = asyncio.get_running_loop().create_task(wake())


def event_too_large(size: str, max_bytes: int) -> CmError:
    """The refusal of an event over the limit; `size` is the verb of the sentence, with what is known."""
    return CmError(
        f"The event {size} over the limit of {max_bytes / 1e6:g} MB for one call",
        fix="Send fewer items a call (batch), or pass a reference and let the module fetch the bytes.",
        code="EventTooLarge",
        exit_code=USAGE,
    )
