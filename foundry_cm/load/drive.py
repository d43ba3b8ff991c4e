"""Calls under load: closed (callers that wait for their answer) and open (arrivals that do not)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from foundry_cm.errors import CmError
from foundry_cm.load.result import Event
from foundry_cm.local.function.foundry import LocalFoundry
from foundry_cm.local.function.payloads import Event as Payload

# No measurement waits longer than this for the number of calls that it wants.
LONGEST_SECONDS = 60.0
# How long after its last arrival an open measurement waits for the answers that are still out.
_PATIENCE_SECONDS = 5.0
UNANSWERED = "not answered by the end of the measurement"


@dataclass(frozen=True)
class Call:
    """One of the calls that are made, with what the result says of it."""

    event: Event
    payload: Payload


class Mix:
    """Which call comes next, drawn by the weights; the same seed draws the same calls."""

    def __init__(self, calls: Sequence[Call], seed: int) -> None:
        self.calls = list(calls)
        self.random = random.Random(seed)  # noqa: S311  # nothing is kept secret with it
        self._weights = [call.event.weight for call in calls]

    def next(self) -> Call:
        """The next call."""
        return self.random.choices(self.calls, self._weights)[0]


@dataclass(frozen=True)
class Span:
    """How long is measured: after `warm` seconds, so many seconds, and so many calls at least."""

    seconds: float
    calls: int = 0
    warm: float = 0.0


@dataclass
class Record:
    """What was seen between `began` and `ended` (`time.perf_counter`)."""

    began: float
    ended: float = 0.0
    latencies: list[float] = field(default_factory=list)
    services: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    # Answered within the time; an answer that comes later counts for its latency alone.
    answered: int = 0
    # Calls came faster than they were answered, and the measurement was broken off.
    overloaded: bool = False
    first_error: CmError | None = None

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return self.ended - self.began

    @property
    def throughput(self) -> float:
        """Calls answered in a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    def failed(self, error: CmError) -> None:
        """Count a call that ended with an error."""
        self.kinds[error.what] += 1
        self.first_error = self.first_error or error


async def closed(foundry: LocalFoundry, mix: Mix, callers: int, span: Span) -> Record:
    """Have so many callers call again and again, each once it is answered.

    What counts is what was answered in the time: callers are busy before it begins and when it ends.
    """
    record = Record(time.perf_counter() + span.warm)

    async def caller() -> None:
        while not record.ended:
            made = time.perf_counter()
            service, error = await _ask(foundry, mix.next())
            now = time.perf_counter()
            if record.ended or now < record.began:
                continue
            if error:
                record.failed(error)
                # One that fails at once would leave no room for others.
                await asyncio.sleep(0)
            else:
                record.answered += 1
                record.latencies.append(now - made)
                record.services.append(service)
            if _is_enough(record, span, now):
                record.ended = now

    await asyncio.gather(*(caller() for _ in range(callers)))
    return record


async def arriving(
    foundry: LocalFoundry, mix: Mix, rate: float, span: Span, *, most_waiting: float
) -> Record:
    """Make calls at random moments, so many a second on average, whether earlier ones are answered or not.

    The gaps are exponential (a Poisson process). The latency of a call counts from the moment at which
    it was to be made: one that could not be made in time has waited. Where more than `most_waiting`
    seconds' worth of calls wait, the measurement is broken off as overloaded.
    """
    record = Record(time.perf_counter() + span.warm)
    until = record.began + min(LONGEST_SECONDS, max(span.seconds, span.calls / rate))
    calls: set[asyncio.Task[None]] = set()

    async def one(due: float, call: Call) -> None:
        service, error = await _ask(foundry, call)
        now = time.perf_counter()
        if due < record.began:
            return
        if error:
            record.failed(error)
            return
        record.latencies.append(now - due)
        record.services.append(service)
        record.answered += now <= until

    due = time.perf_counter()
    while (due := due + mix.random.expovariate(rate)) < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        record.overloaded = foundry.jobs.queued > max(8.0, rate * most_waiting)
        if record.overloaded:
            break
        task = asyncio.create_task(one(due, mix.next()))
        calls.add(task)
        task.add_done_callback(calls.discard)
    record.ended = until if not record.overloaded else max(record.began, time.perf_counter())
    if calls:
        _, late = await asyncio.wait(calls, timeout=0 if record.overloaded else _PATIENCE_SECONDS)
        for task in late:
            task.cancel()
        record.kinds.update([UNANSWERED] * len(late))
        await asyncio.gather(*late, return_exceptions=True)
    return record


async def _ask(foundry: LocalFoundry, call: Call) -> tuple[float, CmError | None]:
    """How long a replica had the call, and the error with which it ended."""
    try:
        result = await foundry.call(call.event.function, call.payload)
    except CmError as error:
        return 0.0, error
    return result.seconds, None


def _is_enough(record: Record, span: Span, now: float) -> bool:
    seen = now - record.began
    count = record.answered + sum(record.kinds.values())
    return (seen >= span.seconds and count >= span.calls) or seen >= LONGEST_SECONDS
