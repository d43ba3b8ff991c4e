"""The local Foundry: a TLS server on loopback, the replicas of one module, and calls to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.application import Application
from foundry_cm.local.function.jobs import JobQueue
from foundry_cm.local.function.server import create_app
from foundry_cm.local.mounts import Mounts, ReplicaIdentity, environment
from foundry_cm.local.replica import Launch, Replica
from foundry_cm.local.sources import LocalSources
from foundry_cm.module.functions import Function, read_result

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """How a module is run: all that `cm serve` lets its user choose."""

    command: Sequence[str]
    folder: Path
    replicas: int = 1
    concurrency: int = 1
    # The field guide's figure for one call, each way; Foundry publishes none.
    max_megabytes: float = 100.0
    # Calls through TypeScript functions must take less than five minutes (foundry docs: functions).
    timeout_seconds: float = 300.0
    port: int = 0
    restart: bool = True
    env: dict[str, str] = field(default_factory=dict)
    # Whether it has application permissions: its replicas get a client for the platform's OAuth.
    application: bool = False
    # The name under which the module reaches this machine's loopback: another one in some containers.
    host: str = "localhost"
    # Given the replica's number, its variables and the folder of its files; None: `command`, as it is.
    launch: Callable[[int, dict[str, str], Path], Launch] | None = None


class Reporter:
    """What the local Foundry tells the person who runs it; this one keeps silent."""

    def line(self, replica: int, text: str) -> None:
        """A replica printed a line."""

    def died(self, replica: int, error: CmError, delay: float | None) -> None:
        """A replica died; it is started again after `delay` seconds, or never where that is None."""

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        """A replica declared its functions."""


@dataclass(frozen=True)
class CallResult:
    """The answer to a call; times in seconds, as seen by the local Foundry."""

    value: Any
    job_id: str
    replica: int
    seconds: float
    queued_seconds: float


class LocalFoundry:
    """Runs a module and calls its functions; use it as an async context manager."""

    def __init__(self, settings: Settings, reporter: Reporter | None = None) -> None:
        self.settings = settings
        self.reporter = reporter or Reporter()
        self.jobs = JobQueue(settings.concurrency)
        self.max_bytes = int(settings.max_megabytes * 1e6)
        self.functions: dict[str, Function] = {}
        self.schemas: list[Any] | None = None
        self.port = 0
        self.replicas: list[Replica] = []
        self._module_rid = f"ri.foundry.main.deployed-app.{uuid.uuid4()}"
        self.application = Application()
        self._tokens: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._folder: Path | None = None
        self._runner: web.AppRunner | None = None
        self._watch: asyncio.Task[None] | None = None

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
        sources = LocalSources.read(self.settings.folder)
        self._folder = Path(tempfile.mkdtemp(prefix="cm-"))
        # Private as a whole; what is inside is readable, since a container has a user of its own.
        mounts = Mounts.create(self._folder / "mounts")
        await self._listen(mounts)
        for index in range(self.settings.replicas):
            identity = ReplicaIdentity(index)
            self._tokens[identity.token] = index
            variables = environment(
                mounts,
                identity,
                module_rid=self._module_rid,
                host=self.settings.host,
                port=self.port,
                concurrency=self.settings.concurrency,
                sources=sources,
            )
            if self.settings.application:
                variables |= self.application.environment()
            launch = self.settings.launch or (lambda _, env, __: Launch(self.settings.command, env))
            replica = Replica(
                index,
                launch(index, {**self.settings.env, **variables}, mounts.root),
                self.settings.folder,
                restart=self.settings.restart,
                on_line=self.reporter.line,
                on_death=self._died,
            )
            self.replicas.append(replica)
            replica.start()
        self._watch = asyncio.create_task(self._watch_workers())

    async def _listen(self, mounts: Mounts) -> None:
        certificate = mounts.authority.issue_cert("localhost", LOOPBACK, self.settings.host)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        app = create_app(self)
        if self.settings.application:
            self.application.serve(app)
        # A poll is cancelled when its replica hangs up, so that no job goes to a dead process.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        listener = bind(self.settings.port)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener, ssl_context=context).start()

    async def _stop(self) -> None:
        if self._watch:
            self._watch.cancel()
        gone = CmError("The local Foundry was stopped", code="Stopped")
        for replica in self.replicas:
            self.jobs.drop(replica.index, gone)
        self.jobs.drop_queued(gone)
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        if self._runner:
            await self._runner.cleanup()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def reload(self, why: str) -> None:
        """Start every replica anew; calls that one of them holds are answered with an error."""
        for replica in self.replicas:
            await replica.stop()
            self.jobs.drop(replica.index, CmError(f"The call was cut off: {why}", code="Reloaded"))
            replica.start()

    # What the routes report (see `server.Runtime`).

    def replica_of(self, token: str) -> int | None:
        """The replica that a module token belongs to."""
        return self._tokens.get(token)

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
                    raise replica.failure
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
            raise self._timed_out(job.replica, limit)
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
        size = len(json.dumps(event, ensure_ascii=False).encode())
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
                    self.jobs.drop(replica.index, _worker_died())

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


def _worker_died() -> CmError:
    return CmError(
        "The worker process of the module died while it held this call",
        fix="Foundry would wait for the answer for up to 22 hours: start with "
        "ConcurrencyType.THREAD_POOL, so that the whole module dies and restarts.",
        code="WorkerDied",
    )


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one.

    Raises `CmError` where another program has the port.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise CmError(
            f"Port {port} on {LOOPBACK} is not free: {error.strerror}",
            fix="Leave the option away, and a free port is taken.",
            code="PortTaken",
            exit_code=USAGE,
        ) from None
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen(128)
    return listener
