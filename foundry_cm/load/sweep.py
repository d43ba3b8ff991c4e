"""Which settings are measured, in which order, and what comes of it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from foundry_cm.errors import CmError
from foundry_cm.load.drive import Call, Mix, Span
from foundry_cm.load.machine import Gpus, usable_cores
from foundry_cm.load.result import ColdStart, Measurement, Setting
from foundry_cm.load.search import highest_rate
from foundry_cm.load.trial import Taken, Trial, measurement
from foundry_cm.local.function.foundry import LocalFoundry, Settings

# Concurrency is doubled as long as that brings a tenth more calls a second.
GAIN, MOST_CONCURRENCY = 1.1, 64
# Loads at which calls arrive at random, in parts of what the callers of the closed load got.
LOADS = (0.5, 0.7, 0.9)
# Enough for a p95 to mean something, and to wait for.
_CALLS, _CALLS_ARRIVING, _CALLS_FOR_EACH_PLACE = 20, 60, 5
_WARM_SECONDS = 0.5

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured; empty numbers are found by measuring."""

    replicas: tuple[int, ...] = ()
    concurrency: tuple[int, ...] = ()
    seconds: float = 2.0
    runs: int = 5
    target_p95: float | None = None
    seed: int = 1


@dataclass
class _Seen:
    """What was measured of one setting so far."""

    cold_starts: list[ColdStart] = field(default_factory=list)
    closed: list[Taken] = field(default_factory=list)
    open: list[Measurement] = field(default_factory=list)
    highest_rate: float | None = None


class Sweep:
    """Measures a module at several settings.

    `calls` makes the calls once the functions are known; `say` hears of the progress. All settings
    are measured once before any is measured again, so that a machine that grows slower meanwhile
    spoils no single one.
    """

    def __init__(
        self,
        settings: Settings,
        calls: Callable[[LocalFoundry], Sequence[Call]],
        asked: Asked,
    ) -> None:
        self.asked = asked
        self.gpus = Gpus()
        self.calls: Sequence[Call] = ()
        self.notes: list[str] = []
        self.say: Callable[[str], None] = lambda _text: None
        self._settings, self._make_calls = settings, calls
        self._seen: dict[Shape, _Seen] = defaultdict(_Seen)
        self._run = 0

    async def run(self) -> None:
        """Measure everything; what is finished when it fails can be had from `settings`."""
        shapes = await self._first_run()
        for run in range(1, self.asked.runs):
            self._run = run
            for shape in shapes:
                await self._measure(shape)
        await self._all_arrivals(shapes)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What was measured, setting by setting."""
        return tuple(
            Setting(
                replicas=replicas,
                concurrency=concurrency,
                cold_starts=tuple(seen.cold_starts),
                closed=measurement(seen.closed, callers=replicas * concurrency),
                open=tuple(seen.open),
                highest_rate=seen.highest_rate,
            )
            for (replicas, concurrency), seen in sorted(self._seen.items())
            if seen.closed
        )

    async def _first_run(self) -> list[Shape]:
        """Measure each setting once, and find which they are where that was not asked for."""
        asked = self.asked
        first, *more = asked.replicas or (1,)
        if asked.concurrency:
            for concurrency in asked.concurrency:
                await self._measure((first, concurrency))
            best = asked.concurrency
        else:
            best = (await self._useful_concurrency(first),)
        for replicas in more if asked.replicas else self._affordable():
            for concurrency in best:
                await self._measure((replicas, concurrency))
        return sorted(self._seen)

    async def _useful_concurrency(self, replicas: int) -> int:
        """The concurrency beyond which more brings little."""
        concurrency, useful = 1, 1
        before = await self._measure((replicas, 1))
        while (concurrency := concurrency * 2) <= MOST_CONCURRENCY:
            now = await self._measure((replicas, concurrency))
            if now < GAIN * before:
                break
            before, useful = now, concurrency
        return useful

    def _affordable(self) -> list[int]:
        """Two replicas, and one for each core, where this machine has the memory for them."""
        memory = max(taken.usage.memory or 0 for taken in self._seen[min(self._seen)].closed)
        wanted = sorted({2, usable_cores()} - {1})
        fit = [count for count in wanted if count * memory < psutil.virtual_memory().available]
        if fit != wanted:
            self.notes.append(
                f"More than one replica was left out: each takes {memory / 1e9:.1f} GB, and this "
                f"machine has {psutil.virtual_memory().available / 1e9:.1f} GB free"
            )
        return fit

    async def _measure(self, shape: Shape) -> float:
        """Start the module and measure it with as many callers as it has places; gives the calls/s."""
        replicas, concurrency = shape
        places = replicas * concurrency
        run = f"run {self._run + 1} of {self.asked.runs}"
        async with self._trial(shape, run) as trial:
            self._seen[shape].cold_starts += trial.cold_starts
            taken = await trial.closed(self._span(max(_CALLS, _CALLS_FOR_EACH_PLACE * places)))
        self._seen[shape].closed.append(taken)
        return taken.record.throughput

    async def _all_arrivals(self, shapes: Sequence[Shape]) -> None:
        """Measure each setting with calls that arrive at random.

        With a target, those that can do most come first, and one that could not beat the best so far
        is left out.
        """
        capacities = {shape: measurement(self._seen[shape].closed).throughput for shape in shapes}
        best = 0.0
        for shape in sorted(shapes, key=lambda shape: -capacities[shape]):
            if capacities[shape] > best:
                await self._arrivals(shape, capacities[shape])
                best = max(best, self._seen[shape].highest_rate or 0.0)

    async def _arrivals(self, shape: Shape, capacity: float) -> None:
        """Measure how long calls take that arrive at random; with a target, how many may arrive."""
        seen = self._seen[shape]
        async with self._trial(shape, "calls arrive at random") as trial:
            seen.cold_starts += trial.cold_starts

            async def at(rate: float, longer: bool = False) -> Measurement:
                self.say(f"{shape_name(*shape)}: {rate:.3g} calls a second arrive at random")
                span = self._span(_CALLS_ARRIVING)
                if longer:
                    span = dataclasses.replace(span, seconds=2 * span.seconds, calls=2 * span.calls)
                return measurement([await trial.arriving(rate, span)], rate=rate)

            if self.asked.target_p95 is None:
                seen.open = [await at(load * capacity) for load in LOADS]
            else:
                seen.highest_rate, seen.open = await highest_rate(
                    at, capacity, self.asked.target_p95
                )

    def _span(self, calls: int) -> Span:
        return Span(self.asked.seconds, calls, warm=min(_WARM_SECONDS, self.asked.seconds))

    @asynccontextmanager
    async def _trial(self, shape: Shape, doing: str) -> AsyncIterator[Trial]:
        """The module, started at a setting; an error tells at which one it was."""
        replicas, concurrency = shape
        self.say(f"{shape_name(*shape)}: {doing}")
        settings = dataclasses.replace(
            self._settings, replicas=replicas, concurrency=concurrency, restart=False
        )
        try:
            async with Trial(settings, self._mix, self.gpus) as trial:
                yield trial
        except CmError as error:
            failed = error.again()
            failed.what = f"With {shape_name(*shape)}: {error.what}"
            raise failed from None

    def _mix(self, foundry: LocalFoundry) -> Mix:
        self.calls = self.calls or self._make_calls(foundry)
        return Mix(self.calls, self.asked.seed + self._run)


def shape_name(replicas: int, concurrency: int) -> str:
    """A setting in words."""
    plural = "s" if replicas > 1 else ""
    return f"{replicas} replica{plural} and concurrency {concurrency}"
