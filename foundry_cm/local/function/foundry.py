"""A module that answers calls: its replicas, the queue before them, and what becomes of each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundry_cm.errors import CmError
from foundry_cm.local.addresses import OLDER_PORT, PLATFORM_PORT, RUNTIME_PORT, free_port
from foundry_cm.local.function import hints
from foundry_cm.local.function.declared import Declared, no_listener
from foundry_cm.local.function.fleet import GRACE_SECONDS, Fleet
from foundry_cm.local.function.heard import Heard, Lines
from foundry_cm.local.function.jobs import Caller, Job, JobQueue
from foundry_cm.local.function.payloads import Answer, Event, event_too_large
from foundry_cm.local.function.platform import platform_of
from foundry_cm.local.function.results import CallResult
from foundry_cm.local.function.server import create_app
from foundry_cm.local.function.settings import Settings, check_mode
from foundry_cm.local.function.workers import watch_workers
from foundry_cm.local.mounts import ReplicaIdentity, function_environment
from foundry_cm.local.platform.access import Tokens
from foundry_cm.local.platform.incidents import INCIDENTS
from foundry_cm.local.platform.queries.routes import QUERIES, Queries
from foundry_cm.local.platform.relay import RELAY
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Listening, Reporter
from foundry_cm.local.site import Site
from foundry_cm.module import tracebacks
from foundry_cm.module.code import Program
from foundry_cm.module.functions import Function

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry

__all__ = ["GRACE_SECONDS", "CallResult", "LocalFoundry", "Settings", "check_mode"]

# How long a client that asks for work again may take to declare its functions meanwhile.
DECLARE_SECONDS = 1.0
# What the TypeScript SDK prints when it gets a job that it will never answer.
_NO_LISTENER = "No listener for query type: "


class LocalFoundry:
    """Runs a module and calls its functions; use it as an async context manager.

    Raises `CmError` for a pipeline, which answers no calls and would be started for ever.
    `address` is the host and port of the runtime, `platform` that of the platform and `ca` the file
    with the authority of both; `registry` has what the module may read on the platform, where it may
    read anything, and `queries` what others call there.
    """

    def __init__(self, settings: Settings, reporter: Reporter | None = None) -> None:
        check_mode(settings.folder)
        self.settings = settings
        self.reporter = reporter or Reporter()
        self.jobs = JobQueue(settings.concurrency)
        self.max_bytes = int(settings.max_megabytes * 1e6)
        self._program = Program(settings.folder, settings.command)
        self.declarations = Declared(self._program)
        # What was told of it: replicas declare the same, each at its start.
        self._said: tuple[list[Any] | None, list[str]] = (None, [])
        self.address = self.platform = self.ca = ""
        self.tokens = Tokens()
        self.registry: Registry | None = None
        self._site = Site(settings, Listening(self.reporter, self.printed))
        self._modules: dict[str, int] = {}
        self.fleet = Fleet(settings, self._site, self.jobs, self.reporter, self._launch)
        self._changed = asyncio.Condition()
        self._settled = time.time()
        self._watch: asyncio.Task[None] | None = None
        self._heard = Lines(self.jobs)

    @property
    def functions(self) -> dict[str, Function]:
        """The functions that the module declared, by name."""
        return self.declarations.functions

    @property
    def schemas(self) -> list[Any] | None:
        """The schemas as the module posted them; None before it did."""
        return self.declarations.schemas

    @property
    def replicas(self) -> list[Replica]:
        """The replicas that are there; their numbers are their places, as long as none has ended."""
        return self.fleet.replicas

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
        self._credentials = self.tokens.register() if self.settings.application else {}
        self._credentials |= self.tokens.share() if self.settings.scratch else {}
        app, self.registry = platform_of(self.settings, self.tokens, self)
        self.queries: Queries = app[QUERIES]
        mounts = await self._site.open()
        self.ca = str(mounts.ca)
        await self._listen()
        port = self.settings.platform_port
        self.platform = await self._site.listen(
            app, PLATFORM_PORT if port is None else port, or_next=port is None
        )
        if relay := app.get(RELAY):
            app[INCIDENTS].on_unknown = self.reporter.noted
            await relay.check()
        self._variables = partial(
            function_environment,
            mounts,
            runtime=self.address,
            platform=self.platform,
            concurrency=self.settings.concurrency,
        )
        self.fleet.start()
        self._watch = asyncio.create_task(watch_workers(self._site.replicas, self.jobs))

    def _launch(self, identity: ReplicaIdentity) -> Replica:
        self._modules[identity.token] = identity.index
        return self._site.start_replica(
            self._variables(identity) | self._credentials,
            self._died,
            restart=self.settings.restart,
            declares=True,
        )

    async def _listen(self) -> None:
        port = self.settings.port
        if port is None:
            port = free_port(RUNTIME_PORT)
        # A poll is cancelled when its replica hangs up, so that no job goes to a dead process.
        self.address = await self._site.listen(create_app(self), port, handler_cancellation=True)
        if port != self.settings.port and not port:
            self.reporter.noted(f"Port {RUNTIME_PORT} is taken: the runtime is {self.address}.")
        if self.settings.older:
            try:
                await self._site.listen_plainly(create_app(self, older=True), OLDER_PORT)
            except CmError:
                # The Python SDK never asks there.
                if not self._program.uses_sdk():
                    self.reporter.noted(
                        f"Port {OLDER_PORT} is taken: clients of the older protocol, which is plain http "
                        "there, get no answer from here."
                    )

    async def _stop(self) -> None:
        if self._watch:
            self._watch.cancel()
        await self.fleet.stop()
        gone = CmError("The local Foundry was stopped", code="Stopped")
        for replica in self.replicas:
            self.jobs.hold_back(replica.index)
            self.jobs.drop(replica.index, gone)
        self.jobs.drop_queued(gone)
        await self._site.close()

    def remove_if_killed(self, note: Path, text: str) -> None:
        """Have a file removed, as long as it has this text, when this process is killed."""
        self._site.guard.note(note, text)

    async def drain(self, seconds: float = GRACE_SECONDS) -> None:
        """Hand out no more calls, and wait for those that run, at most so many seconds."""
        await self.fleet.drain(seconds)

    async def reload(self, why: str, seconds: float = GRACE_SECONDS) -> None:
        """Restart every replica, once its calls are answered, or after so many seconds."""
        if self.declarations.warnings:
            self._said = (None, [])  # whoever edits learns of what is still wrong
        await self.fleet.reload(why, seconds)

    @property
    def running(self) -> int:
        """How many calls replicas work on that somebody waits for."""
        return sum(len(self.jobs.awaited(replica.index)) for replica in self.replicas)

    def at_rest_since(self) -> float | None:
        """Since when (`time.time`) no replica starts or works on a call; None while one does."""
        for replica in self.replicas:
            if self.jobs.held(replica.index) or (replica.alive and not replica.responsive):
                return None
        return max(self._settled, self.jobs.finished_last)

    # What the routes report (see `server.Runtime`).

    def replica_of(self, token: str) -> int | None:
        """The replica that a module token belongs to."""
        return self._modules.get(token)

    def polled(self, replica: int) -> bool:
        """A replica asks for work; one that has declared nothing yet does not wait for it.

        The TypeScript SDK posts its schema once its first poll was answered.
        """
        asking = self._site.replicas[replica]
        asking.polls += 1
        if asking.declared:
            self._is_responsive(asking)
        elif asking.polls == 1:
            return False
        elif asking.polls == 2:
            asyncio.get_running_loop().call_later(
                DECLARE_SECONDS, self._is_responsive, asking, asking.starts
            )
        return True

    def _is_responsive(self, replica: Replica, start: int | None = None) -> None:
        if not replica.responsive and start in (None, replica.starts):
            replica.responsive = True
            replica.ready_seconds = time.perf_counter() - replica.started_at
            self._settled = time.time()
            replica.workers = replica.live_workers()
            replica.forked_threads = replica.threads_before_fork()
            self._notify()

    def declared(self, replica: int, schemas: list[Any]) -> None:
        """A replica posted the schemas of its functions."""
        posting = self._site.replicas[replica]
        posting.declared = True
        # One that asked for work first may serve more than it declares.
        self.declarations.take(
            schemas, broken=posting.early_traceback(), complete=posting.polls == 0
        )
        said = (schemas, self.declarations.warnings)
        if said != self._said:
            self._said = said
            self.reporter.declared(list(self.functions.values()), self.declarations.warnings)
        if posting.polls:
            self._is_responsive(posting)
        self._notify()

    def restarted(self, replica: int) -> list[str]:
        """A replica says that it restarts: whatever its last process held is answered."""
        return self.jobs.drop(
            replica, CmError("The module restarted while it held this call", code="ModuleDied")
        )

    # Calls.

    async def ready(self, seconds: float | None = None) -> None:
        """Wait until a replica asks for work, unless the scaler has ended the last one.

        Raises `CmError` as soon as no replica is left to wait for, or after `seconds`.
        """
        limit = self.settings.timeout_seconds if seconds is None else seconds
        # As before nearly every call: nothing is awaited, which would take a turn of the loop or two.
        # Without a replica, the call that waits is what the scaler starts one for.
        if self._ready_or_failed() or (self.fleet.scaler and self.schemas is not None):
            return
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(self._ready_or_failed), limit)
        except TimeoutError:
            output = [line for replica in self.replicas for line in replica.output]
            raise hints.not_ready(limit, self.settings.command, self._program, output) from None

    def _ready_or_failed(self) -> bool:
        if any(replica.responsive for replica in self.replicas):
            return True
        if not any(replica.alive for replica in self.replicas):
            for replica in self.replicas:
                if replica.failure:
                    raise replica.failure.again()
        return False

    async def call(
        self,
        name: str,
        event: Any,
        timeout: float | None = None,
        heard: Heard | None = None,
        *,
        as_user: str | None = None,
    ) -> CallResult:
        """Call a function as Foundry would; the event is a JSON value, or an `Event`.

        With `as_user` the job names that user, and has a token that the local platform takes. `heard` is
        told of the call while it runs: of the items of a streamed result, and of its log.
        Raises `CmError`: `UnknownFunction` and the refusals of the event (usage), and `ModuleDied`,
        `HandlerFailed`, `InvalidResult`, `ResultTooLarge`, `TimedOut` (failure).
        """
        limit = self.settings.timeout_seconds if timeout is None else timeout
        began = time.perf_counter()
        event = event if isinstance(event, Event) else Event.of(event)
        if len(event.text) > self.max_bytes:
            raise event_too_large(f"has {len(event.text) / 1e6:.1f} MB,", self.max_bytes)
        await self.ready(limit)
        function = self.declarations.find(name)
        await event.check(function)
        caller = Caller(as_user, self.tokens.of_user(as_user)) if as_user else Caller()
        listener = heard.listener(function) if heard else None
        job = self.jobs.submit(name, event.text, caller, listener)
        if heard:
            heard.job(job)
        with self._heard.of(job):
            await self._answered(job, limit, limit - (time.perf_counter() - began))
            posted = job.answer.result()
            ended = time.perf_counter()
            await self._heard.late_lines(job)
        try:
            answer = await Answer.read(function, posted)
        except CmError as error:
            raise hints.of_failure(error, name, function, self._program) from None
        return CallResult.of(job, answer, ended, len(posted.body))

    async def _answered(self, job: Job, limit: float, left: float) -> None:
        """Wait for the answer of a job for what is left of a limit, and no longer."""
        try:
            done, _ = await asyncio.wait({job.answer}, timeout=max(0.0, left))
        except asyncio.CancelledError:
            self.jobs.give_up(job)
            raise
        if not done:
            self.jobs.give_up(job)
            raise await self._timed_out(job, limit)

    async def _timed_out(self, job: Job, limit: float) -> CmError:
        if job.replica is None or job.started_at is None:
            busy = sum(len(self.jobs.held(r.index)) for r in self.replicas)
            return hints.none_free(limit, busy, self.jobs.queued)
        replica, seconds = self._site.replicas[job.replica], time.perf_counter() - job.started_at
        stack = None
        # Python tells where it stands only as it ends.
        if stuck := self._is_stuck(replica):
            stack = await self._free(replica)
        elif self.settings.once and not replica.debugged:
            stack = tracebacks.of_dump(await replica.stacks())
        limit = self.settings.timeout_seconds if self.settings.once else limit
        error = hints.timed_out(job.function, limit, seconds, stack, replica.forked_threads)
        if stuck:
            self.reporter.died(replica.index, hints.stuck(replica.index, job.function, error), 0)
        return error

    # Deaths.

    def _died(self, index: int, error: CmError, delay: float | None) -> None:
        self._settled = time.time()
        self.jobs.drop(index, error)
        # A replica that had not come so far as to ask for work will hardly do so at its next start.
        comes_back = delay is not None and self._site.replicas[index].served
        if not comes_back and not any(replica.alive for replica in self.replicas):
            self.jobs.drop_queued(error)
        self.reporter.died(index, error, delay)
        self._notify()

    def printed(self, replica: int, texts: Sequence[str]) -> None:
        """A replica printed lines, which may say that it will never answer a call."""
        self.reporter.printed(replica, texts)
        self._heard.printed(replica, texts)
        names = {text.partition(_NO_LISTENER)[2].strip() for text in texts if _NO_LISTENER in text}
        for job in self.jobs.held(replica) if names else ():
            if job.function in names:
                self.jobs.finish(job.id, no_listener(job.function, job.function in self.functions))

    def _is_stuck(self, replica: Replica) -> bool:
        """Whether a replica that is started again when it dies is full of calls nobody waits for."""
        held = self.jobs.held(replica.index)
        full = len(held) >= self.settings.concurrency
        unwanted = all(job.answer.cancelled() for job in held)
        return self.settings.restart and full and unwanted and not replica.debugged

    async def _free(self, replica: Replica) -> list[tracebacks.Frame] | None:
        """Start a replica again, and tell where it stood; in Foundry it can be busy for 22 hours."""
        self.jobs.hold_back(replica.index)
        self.jobs.drop(replica.index, CmError("Nobody waited for the call", code="Stuck"))
        try:
            return tracebacks.of_dump(await replica.stacks(again=True))
        finally:
            self.jobs.let_go(replica.index)

    def _notify(self) -> None:
        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._wake = asyncio.get_running_loop().create_task(wake())
