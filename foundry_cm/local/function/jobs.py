"""The queue of jobs that all replicas of a module share, with the concurrency limit enforced here.

The official SDK keeps fetching jobs while its workers are busy (`compute_modules.startup`,
SDK 0.34), so the limit has to be kept on this side.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from foundry_cm.errors import CmError


@dataclass(frozen=True)
class Posted:
    """A result as a replica posted it; a streamed one came in this many chunks, otherwise 0."""

    body: bytes
    chunks: int = 0

    @property
    def streamed(self) -> bool:
        """Whether it came in chunks, as a generator's items do."""
        return self.chunks > 0


@dataclass(frozen=True)
class Caller:
    """Who calls, in the modes of Foundry that tell a module so; nobody in the others."""

    user: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Listener:
    """What a caller hears of while a call runs: each piece of a streamed result, and what is printed."""

    piece: Callable[[bytes], None] = lambda _piece: None
    line: Callable[[str], None] | None = None


@dataclass
class Job:
    """One call on its way: queued, held by a replica, then answered through `answer`."""

    function: str
    # The event as a JSON text: a large one is not read in this process.
    query: bytes
    caller: Caller = Caller()
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: asyncio.Future[Posted] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    replica: int | None = None
    queued_at: float = field(default_factory=time.perf_counter)
    started_at: float | None = None
    # When the replica had the whole event, and when it began to post the result.
    delivered_at: float | None = None
    posting_at: float | None = None
    interrupted: bool = False
    listener: Listener = field(default_factory=Listener)
    # Hears of the replica that takes it.
    on_taken: Callable[[int], None] = lambda _replica: None

    def fail(self, error: CmError) -> None:
        """Answer the caller with an error, unless the job is answered already."""
        if not self.answer.done():
            self.answer.set_exception(error.again())

    def envelope(self) -> bytes:
        """The job as the runtime hands it out (documented: advanced-custom-client page)."""
        about = {
            "temporaryCredentialsAuthToken": self.caller.token,
            "authHeader": f"Bearer {self.caller.token}" if self.caller.token else "",
            "userId": self.caller.user,
        }
        # The part that is a JSON text already is put in, not read and written again.
        job = b"%b, %b" % (self.flat()[:-1], json.dumps(about).encode()[1:])
        return b'{"type": "computeModuleJobV1", "computeModuleJobV1": %b}' % job

    def flat(self) -> bytes:
        """The job as the older protocol hands it out (`ComputeModuleClient` of the Java SDK)."""
        about = json.dumps({"jobId": self.id, "queryType": self.function}).encode()
        return b'%b, "query": %b}' % (about[:-1], self.query)


_HELD_BACK_SECONDS = 0.05
_LATE_SECONDS = 0.05
# The SDK posts the rest of a generator that raised, which is nothing, as if it were the result.
_BROKEN_STREAM = CmError(
    "The streamed result broke off: the handler raised after its first items",
    fix="The output of the module says what it raised.",
    code="HandlerFailed",
)


class JobQueue:
    """Jobs in order of arrival; each replica is handed at most `concurrency` of them at a time."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._queued: deque[Job] = deque()
        self._held: dict[str, Job] = {}
        self._pollers: deque[tuple[int, asyncio.Future[Job | None]]] = deque()
        self._held_back: set[int] = set()
        # Called whenever a job is queued, handed out or answered.
        self.changed: Callable[[], None] = lambda: None
        self.finished_last = 0.0
        # The last job that each replica has answered, and when by `time.monotonic`.
        self._answered: dict[int, tuple[str, float]] = {}
        # Answered or given up: a late result for one of these is accepted and dropped.
        self._past: deque[str] = deque(maxlen=10_000)

    @property
    def queued(self) -> int:
        """How many jobs wait for a replica."""
        return len(self._queued)

    @property
    def running(self) -> int:
        """How many jobs replicas hold."""
        return len(self._held)

    def held(self, replica: int) -> list[Job]:
        """The jobs that a replica has fetched and not answered, oldest first."""
        return [job for job in self._held.values() if job.replica == replica]

    def only_one(self, replica: int) -> str:
        """The job that a replica works on or has just answered; empty where it may be another's as well.

        What a module prints is read a moment after its answer.
        """
        last, when = self._answered.get(replica, ("", 0.0))
        held = [job.id for job in self.held(replica)]
        recent = [last] if time.monotonic() - when < _LATE_SECONDS else []
        found = held + recent
        return found[0] if len(found) == 1 else ""

    def submit(
        self,
        function: str,
        query: bytes,
        caller: Caller = Caller(),
        listener: Listener | None = None,
    ) -> Job:
        """Queue a call; its answer arrives in `job.answer`."""
        job = Job(function, query, caller, listener=listener or Listener())
        self._queued.append(job)
        self._hand_out()
        return job

    def give_up(self, job: Job) -> None:
        """Forget a call whose caller no longer waits; a replica that holds it stays busy with it."""
        if job in self._queued:
            self._queued.remove(job)
        job.answer.cancel()

    async def next_job(self, replica: int, seconds: float) -> Job | None:
        """The next job for a replica, or None when there is none for it within `seconds`."""
        if replica in self._held_back:
            # It asks again at once, and should not do so in a loop.
            await asyncio.sleep(min(seconds, _HELD_BACK_SECONDS))
            return None
        waiting: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._pollers.append((replica, waiting))
        self._hand_out()
        try:
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
        except asyncio.CancelledError:
            # The replica hung up; a job that was on its way to it goes back to the front.
            if waiting.done() and (job := waiting.result()):
                self.take_back(job)
            raise
        finally:
            self._pollers = deque(p for p in self._pollers if p[1] is not waiting)
        return waiting.result() if done else None

    def hold_back(self, replica: int) -> None:
        """Hand a replica nothing more; its polls end at once without a job."""
        self._held_back.add(replica)
        for index, waiting in self._pollers:
            if index == replica and not waiting.done():
                waiting.set_result(None)

    def let_go(self, replica: int) -> None:
        """Hand a replica jobs again."""
        self._held_back.discard(replica)

    def awaited(self, replica: int) -> list[Job]:
        """The jobs that a replica holds and somebody waits for."""
        return [job for job in self.held(replica) if not job.answer.done()]

    async def finished(self, replica: int, seconds: float) -> None:
        """Wait until nobody waits for a job of a replica any more, at most so many seconds."""
        waiting = [job.answer for job in self.awaited(replica)]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)

    def knows(self, job_id: str, replica: int) -> bool:
        """Whether a job of this id is with a replica, or was with any."""
        held = self._held.get(job_id)
        return held.replica == replica if held else job_id in self._past

    def is_held_back(self, replica: int) -> bool:
        """Whether a replica is handed nothing more, because it is to end."""
        return replica in self._held_back

    def posting(self, job_id: str) -> None:
        """Note that a replica begins to post the result of a job."""
        if job_id in self._held:
            self._held[job_id].posting_at = time.perf_counter()

    def interrupt(self, job_id: str) -> None:
        """Note that the upload of a result broke off; the SDK posts again."""
        if job_id in self._held:
            self._held[job_id].interrupted = True

    def arrive(self, job_id: str, piece: bytes) -> None:
        """Take a piece of a streamed result; what is posted again after a break is not told again."""
        job = self._held.get(job_id)
        if job and not job.interrupted and not job.answer.done():
            job.listener.piece(piece)

    def finish(self, job_id: str, answer: Posted | CmError) -> None:
        """Take the result that a replica posted for a job; the first one counts."""
        job = self._held.pop(job_id, None)
        if job is None:
            return
        self._past.append(job_id)
        self.finished_last = time.time()
        if job.replica is not None:
            self._answered[job.replica] = (job_id, time.monotonic())
        if isinstance(answer, CmError):
            job.fail(answer)
        elif job.interrupted and answer.streamed:
            job.fail(_BROKEN_STREAM)
        elif not job.answer.done():
            job.answer.set_result(answer)
        self._hand_out()

    def drop(self, replica: int, error: CmError) -> list[str]:
        """Answer the callers of all jobs that a replica holds with an error; gives the job ids."""
        dropped = [job.id for job in self.held(replica)]
        for job_id in dropped:
            self.finish(job_id, error)
        return dropped

    def drop_queued(self, error: CmError) -> None:
        """Answer the callers of all jobs that no replica has fetched with an error."""
        while self._queued:
            self._queued.popleft().fail(error)

    def take_back(self, job: Job) -> None:
        """Queue a job again that did not reach its replica."""
        if self._held.pop(job.id, None) is None or job.answer.done():
            return
        job.replica = job.started_at = None
        self._queued.appendleft(job)
        self._hand_out()

    def _hand_out(self) -> None:
        self._give()
        self.changed()

    def _give(self) -> None:
        """Give queued jobs to waiting replicas that have room."""
        for replica, waiting in list(self._pollers):
            if not self._queued:
                return
            if waiting.done() or len(self.held(replica)) >= self.concurrency:
                continue
            job = self._queued.popleft()
            job.replica, job.started_at = replica, time.perf_counter()
            self._held[job.id] = job
            job.on_taken(replica)
            waiting.set_result(job)
