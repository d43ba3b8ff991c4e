"""The replicas of a module that answers calls: started, given their calls, drained and ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from foundry_cm.errors import CmError
from foundry_cm.local.function.jobs import JobQueue
from foundry_cm.local.function.settings import Settings
from foundry_cm.local.mounts import ReplicaIdentity
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.site import Site
from foundry_cm.module.scaler import Scaler, leaves_first

# How long a replica may go on with its calls when it is to end; Foundry publishes no figure.
GRACE_SECONDS = 30.0
# The longest between two looks at the replicas, however slowly the time of the scaler passes.
_TICK_SECONDS, _SHORTEST_TICK = 1.0, 0.005


@dataclass(frozen=True)
class Count:
    """How many replicas were wished, were there, and took calls from a moment on.

    `seconds` is the scaler's time since the start; those that drain are not counted.
    """

    seconds: float
    wished: int
    present: int
    ready: int


class Fleet:
    """As many replicas as the settings say, or as Foundry's scaler wishes.

    `launch` starts one more. `counts` records how many there were.
    """

    def __init__(
        self,
        settings: Settings,
        site: Site,
        jobs: JobQueue,
        reporter: Reporter,
        launch: Callable[[ReplicaIdentity], Replica],
    ) -> None:
        self.counts: list[Count] = []
        self.scaler: Scaler | None = None
        self._scaling = settings.scaling
        self._fixed = settings.replicas
        self._site, self._jobs, self._reporter, self._launch = site, jobs, reporter, launch
        self._born: dict[int, float] = {}
        # Those that take no more calls, and those that are gone.
        self._leaving: set[int] = set()
        self._gone: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def replicas(self) -> list[Replica]:
        """The replicas that are there, those that drain as well."""
        return [each for each in self._site.replicas if each.index not in self._gone]

    @property
    def present(self) -> list[Replica]:
        """The replicas that are there to stay."""
        return [each for each in self.replicas if each.index not in self._leaving]

    @property
    def wished(self) -> int:
        """How many there should be."""
        return self.scaler.wished if self.scaler else self._fixed

    def state(self, replica: Replica) -> str:
        """The state of a replica, as `Replica.state`, or `draining`."""
        return "draining" if replica.index in self._leaving else replica.state

    def start(self) -> None:
        """Start the first replicas, and what watches over their number."""
        self._began = time.perf_counter()
        self._began_at = time.time()
        if self._scaling:
            self.scaler = Scaler(self._scaling.rules, self._now())
            self._jobs.changed = self._step
            self._keep(asyncio.create_task(self._watch()))
        self._adjust()

    async def stop(self) -> None:
        """Watch no longer, and leave the rest to whoever ends all replicas."""
        self._jobs.changed = lambda: None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self, seconds: float = GRACE_SECONDS) -> None:
        """Hand out no more calls, and wait for those that run, at most so many seconds."""
        for replica in self.replicas:
            self._jobs.hold_back(replica.index)
        await asyncio.gather(*(self._jobs.finished(r.index, seconds) for r in self.replicas))

    async def reload(self, why: str, seconds: float = GRACE_SECONDS) -> None:
        """Restart every replica, once its calls are answered.

        Those that take longer than so many seconds are answered with an error.
        """
        for replica in self.present:
            self._jobs.hold_back(replica.index)
            try:
                await self._jobs.finished(replica.index, seconds)
                if replica.index in self._leaving:
                    continue
                await replica.stop()
                self._jobs.drop(replica.index, _cut_off(why, "Reloaded"))
                replica.start()
            finally:
                if replica.index not in self._leaving:
                    self._jobs.let_go(replica.index)

    # The scaler.

    def _now(self) -> float:
        """The scaler's time: Unix seconds that pass faster."""
        scale = self._scaling.time_scale if self._scaling else 1.0
        return self._began_at + (time.perf_counter() - self._began) * scale

    async def _watch(self) -> None:
        while self.scaler and self._scaling:
            self._step()
            left = (self.scaler.next_look - self._now()) / self._scaling.time_scale
            await asyncio.sleep(min(_TICK_SECONDS, max(_SHORTEST_TICK, left)))

    def _step(self) -> None:
        """Tell the scaler what is, and do what it wishes."""
        if self.scaler is None:
            return
        now, before = self._now(), self.scaler.wished
        running = self._jobs.running - sum(len(self._jobs.held(index)) for index in self._leaving)
        self.scaler.step(now, running=running, replicas=len(self.present), queued=self._jobs.queued)
        if self.scaler.wished != before:
            self._reporter.scaled(before, self.scaler.wished, self.scaler.why)
        lifetime = self.scaler.rules.lifetime_seconds
        for replica in self.present:
            if now - self._born[replica.index] >= lifetime:
                self._leave(replica, f"it is {lifetime / 3600:g} hours old")
        try:
            self._adjust()
        except CmError as error:
            self._cannot_start(error)

    def _adjust(self) -> None:
        """Start what is missing, and take away what is too much."""
        while len(self.present) < self.wished:
            identity = ReplicaIdentity(len(self._site.replicas))
            self._born[identity.index] = self._now()
            self._launch(identity)
        while len(present := self.present) > self.wished:
            held = [(len(self._jobs.held(each.index)), self._born[each.index]) for each in present]
            self._leave(present[leaves_first(held)], "it is not needed any more")
        self._record()

    def _cannot_start(self, error: CmError) -> None:
        """Give up on a replica whose command is gone meanwhile, until the next call or step."""
        self._gone.update(each.index for each in self._site.replicas if each.pid is None)
        if self.scaler:
            self.scaler.wished = len(self.present)
        self._jobs.drop_queued(error)
        self._reporter.died(len(self._site.replicas) - 1, error, None)

    def _record(self) -> None:
        present = self.present
        ready = sum(each.responsive for each in present)
        seconds = self._now() - self._began_at
        count = Count(seconds, self.wished, len(present), ready)
        last = self.counts[-1] if self.counts else None
        if not last or (last.wished, last.present, last.ready) != (
            count.wished,
            count.present,
            count.ready,
        ):
            self.counts.append(count)

    def _leave(self, replica: Replica, why: str) -> None:
        """Have a replica finish its calls, and end."""
        self._leaving.add(replica.index)
        self._jobs.hold_back(replica.index)
        self._reporter.leaves(replica.index, why)
        self._keep(asyncio.create_task(self._end(replica, why)))

    async def _end(self, replica: Replica, why: str) -> None:
        await self._jobs.finished(replica.index, GRACE_SECONDS)
        await replica.stop()
        self._jobs.drop(replica.index, _cut_off(f"its replica was ended, because {why}", "Stopped"))
        self._gone.add(replica.index)
        self._leaving.discard(replica.index)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _cut_off(why: str, code: str) -> CmError:
    return CmError(f"The call was cut off: {why}", code=code)
