"""One start of a module at one setting: how it started, and what it does under a load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from foundry_cm.errors import CmError
from foundry_cm.load.drive import Mix, Record, Span, arriving, closed
from foundry_cm.load.machine import Gpus, Usage, Watch, pace
from foundry_cm.load.result import ColdStart, Measurement, Run, Times
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.replica import Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.coldstart import ColdStart as LoggedStart

Number = TypeVar("Number", int, float)
# Calls that wait for longer than this, at the rate at which they arrive, are an overload.
_MOST_WAITING_SECONDS = 2.0


class _Starts(Reporter):
    """Keeps what each replica logs of its start."""

    def __init__(self) -> None:
        self.logged: dict[int, LoggedStart] = {}

    def line(self, replica: int, text: str) -> None:
        if "Cold start: " in text and (found := LoggedStart.parse(text)):
            self.logged[replica] = found


@dataclass
class Taken:
    """What one start measured: the records of one load, and what the replicas took meanwhile."""

    record: Record
    usage: Usage
    pace: float

    def run(self) -> Run:
        """The repetition that this is."""
        return Run(
            seconds=self.record.seconds,
            throughput=self.record.throughput,
            latency=Times.of(self.record.latencies),
            errors=sum(self.record.kinds.values()),
            pace=self.pace,
        )


@dataclass
class Trial:
    """A module that runs at a setting; use it as an async context manager.

    Raises `CmError` where the module does not start, dies, or fails its very first call.
    """

    settings: Settings
    mix: Callable[[LocalFoundry], Mix]
    gpus: Gpus
    cold_starts: list[ColdStart] = field(default_factory=list)

    async def __aenter__(self) -> Trial:
        # Before the module takes its share.
        self._pace = pace()
        self._starts = _Starts()
        self.foundry = LocalFoundry(self.settings, self._starts)
        await self.foundry.__aenter__()
        try:
            self._watch = await Watch(lambda: self.foundry.replicas, self.gpus).__aenter__()
            await self._first_calls()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if hasattr(self, "_watch"):
            await self._watch.__aexit__()
        await self.foundry.__aexit__()

    @property
    def places(self) -> int:
        """How many calls can run at a time."""
        return self.settings.replicas * self.settings.concurrency

    async def closed(self, span: Span) -> Taken:
        """As many callers as there are places."""
        return await self._taken(closed(self.foundry, self._mix, self.places, span), span)

    async def arriving(self, rate: float, span: Span) -> Taken:
        """Calls that arrive at random, at this rate."""
        load = arriving(self.foundry, self._mix, rate, span, most_waiting=_MOST_WAITING_SECONDS)
        return await self._taken(load, span)

    async def _taken(self, load: Coroutine[Any, Any, Record], span: Span) -> Taken:
        marking = asyncio.get_running_loop().call_later(span.warm, self._watch.mark)
        try:
            record = await load
        finally:
            marking.cancel()
        self._check_alive(record.first_error)
        return Taken(record, self._watch.measured(), self._pace)

    def _check_alive(self, error: CmError | None) -> None:
        for replica in self.foundry.replicas:
            if replica.failure or not replica.alive:
                raise (replica.failure or error or CmError("The module ended")).again()

    async def _first_calls(self) -> None:
        """Wait for every replica, and make the first call of all, which warms what nobody warmed."""
        await self.foundry.ready()
        limit = self.settings.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                while not all(each.responsive for each in self.foundry.replicas):
                    self._check_alive(None)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise CmError(
                f"Not every replica asked for work within {limit:g} s", code="NotReady"
            ) from None
        self._mix = self.mix(self.foundry)
        first: dict[int, float] = {}
        for call in self._mix.calls:
            result = await self.foundry.call(call.event.function, call.payload)
            first.setdefault(result.replica, result.seconds)
        self.cold_starts = [
            _cold_start(replica, self._starts.logged.get(replica.index), first.get(replica.index))
            for replica in self.foundry.replicas
        ]


def _cold_start(
    replica: Replica, logged: LoggedStart | None, first_call: float | None
) -> ColdStart:
    """What is known of a start: all of it is the process's, but for what the module logged."""
    ready = replica.ready_seconds or 0.0
    if logged is None:
        return ColdStart(process=ready, first_call=first_call)
    steps = dict(logged.steps)
    importing, warm_up = steps.pop("import", 0.0), steps.pop("warm-up", 0.0)
    load = sum(steps.values())
    return ColdStart(
        process=max(0.0, ready - importing - load - warm_up),
        importing=importing,
        load=load,
        warm_up=warm_up,
        first_call=first_call,
    )


def measurement(
    taken: Sequence[Taken], *, callers: int | None = None, rate: float | None = None
) -> Measurement:
    """What several repetitions come to; one with a rate is open."""
    records = [each.record for each in taken]
    kinds: dict[str, int] = {}
    for record in records:
        for what, count in record.kinds.items():
            kinds[what] = kinds.get(what, 0) + count
    latencies = [seconds for record in records for seconds in record.latencies]
    seconds = sum(record.seconds for record in records)
    return Measurement(
        arrivals="closed" if rate is None else "open",
        callers=callers,
        rate=rate,
        calls=len(latencies),
        errors=sum(kinds.values()),
        kinds=kinds,
        overloaded=any(record.overloaded for record in records),
        throughput=sum(record.answered for record in records) / seconds if seconds else 0.0,
        latency=Times.of(latencies),
        service=Times.of(each for record in records for each in record.services),
        cores=_most(each.usage.cores for each in taken),
        local=_most(each.usage.local for each in taken),
        memory=_most(each.usage.memory for each in taken),
        gpu_memory=_most(each.usage.gpu_memory for each in taken),
        runs=tuple(each.run() for each in taken),
    )


def _most(figures: Iterable[Number | None]) -> Number | None:
    return max((each for each in figures if each is not None), default=None)
