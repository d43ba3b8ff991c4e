"""What `cm bench` measured, as its JSON file holds it. Times are in seconds, sizes in bytes."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from foundry_cm.errors import USAGE, CmError

# How many points of a sample are kept: its 0.1 % point and the 99.9 % one are among them.
_POINTS = 1000
# NaN and infinity have no place in the file, and every time is one that was measured.
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file is made of."""


class Times(Stored, frozen=True, kw_only=True):
    """A sample of times, and what is asked of it most.

    `points` are the sample in order, and evenly spaced quantiles of it where it has more than
    1,000: draw one at random, and you draw from what was measured.
    """

    count: Count
    mean: Amount
    p50: Amount
    p95: Amount
    p99: Amount
    longest: Amount
    points: tuple[Amount, ...]

    @classmethod
    def of(cls, sample: Iterable[float]) -> Times:
        """The times of a sample; all are 0 where it is empty."""
        ordered = sorted(sample)
        if not ordered:
            return cls(count=0, mean=0, p50=0, p95=0, p99=0, longest=0, points=())
        count = len(ordered)
        kept = ordered
        if count > _POINTS:
            kept = [quantile(ordered, (index + 0.5) / _POINTS) for index in range(_POINTS)]
        return cls(
            count=count,
            mean=statistics.fmean(ordered),
            p50=quantile(ordered, 0.5),
            p95=quantile(ordered, 0.95),
            p99=quantile(ordered, 0.99),
            longest=ordered[-1],
            points=tuple(round(each, 6) for each in kept),
        )

    def at(self, fraction: float) -> float:
        """The time below which this fraction of the sample lies."""
        return quantile(self.points, fraction) if self.points else 0.0

    def within(self, seconds: float) -> float:
        """The fraction of the sample that took less than so long."""
        return bisect_left(self.points, seconds) / len(self.points) if self.points else 0.0


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """A quantile of a sorted sample that is not empty, between its neighbours (as numpy's `linear`).

    `statistics.quantiles` gives only those that divide a sample evenly, all at once.
    """
    place = min(1.0, max(0.0, fraction)) * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class ColdStart(Stored, frozen=True, kw_only=True, rename={"importing": "import"}):
    """One start of a replica, by what it spent its time on.

    `process` is all that is not among the others: the interpreter, the SDK, the container, up to the
    first request for work. What a module does not tell is None, and its time is in `process`.
    """

    process: Amount
    importing: Amount | None = None
    load: Amount | None = None
    warm_up: Amount | None = None
    # None where the module ended before it was called.
    first_call: Amount | None = None

    @property
    def until_ready(self) -> float:
        """From the start of the process until it asks for work."""
        return self.process + sum(part or 0.0 for part in (self.importing, self.load, self.warm_up))


class Run(Stored, frozen=True, kw_only=True):
    """One of the repetitions that a measurement is made of; each has processes of its own start."""

    seconds: Amount
    # Calls per second that were answered without an error.
    throughput: Amount
    # From when a call was to be made until it was answered.
    latency: Times
    errors: Count = 0
    # How fast the machine itself was then: passes per second through a fixed piece of work.
    pace: Amount = 0


class Measurement(Stored, frozen=True, kw_only=True):
    """What one setting did under one load: all its repetitions together, and each."""

    # closed: so many callers, each of which calls again once it is answered. open: calls arrive at
    # random (Poisson) at this rate, whether earlier ones are answered or not.
    arrivals: Literal["closed", "open"]
    callers: Number | None = None
    rate: Amount | None = None
    calls: Count
    errors: Count = 0
    # How often each error came, by its first line.
    kinds: dict[str, int] = {}
    throughput: Amount
    # From when a call was to be made: what a caller waits, with all queueing.
    latency: Times
    # From when a replica was handed the call: what `cm plan` simulates with.
    service: Times
    # Calls came faster than they were answered, and it was broken off.
    overloaded: bool = False
    # How many cores all replicas together kept busy.
    cores: Amount | None = None
    # And the local Foundry, which has one: where it is busy, the figures are its own.
    local: Amount | None = None
    # The highest of one replica, with its child processes.
    memory: Count | None = None
    gpu_memory: Count | None = None
    runs: tuple[Run, ...]

    def keeps(self, target_p95: float) -> bool:
        """Whether it kept a latency without an error, and was not overloaded."""
        whole = self.calls > 0 and not self.errors and not self.overloaded
        return whole and self.latency.p95 <= target_p95


class Setting(Stored, frozen=True, kw_only=True):
    """A number of replicas and a concurrency, and what was measured with them.

    Replicas share the cores of this machine. In Foundry each has its own: for a plan, those settings
    count that have one replica.
    """

    replicas: Number
    concurrency: Number
    cold_starts: tuple[ColdStart, ...]
    # As many callers as the setting has places: `service` of it is that of a replica that is full.
    closed: Measurement
    open: tuple[Measurement, ...] = ()
    # The highest load that kept the target, in calls per second, and 0 where none did. None without a
    # target, and for a setting that could not beat another one.
    highest_rate: Amount | None = None

    @property
    def name(self) -> str:
        """Such as 2 x 4: replicas, then concurrency."""
        return f"{self.replicas} x {self.concurrency}"


class Event(Stored, frozen=True, kw_only=True):
    """One of the events that were sent, and its part of the calls."""

    function: str
    # The file it is from, or what made it.
    origin: str
    weight: Amount = 1


class Machine(Stored, frozen=True, kw_only=True):
    """What it was measured on."""

    system: str
    python: str
    cores: Number
    memory: Count
    gpu: str | None = None


class Result(Stored, frozen=True, kw_only=True, tag_field="file", tag="cm bench"):
    """One run of `cm bench`."""

    # Of the file; a reader refuses other ones.
    version: Literal[1] = 1
    # The tool's own version, and when it began (ISO 8601, with the offset).
    foundry_cm: str
    began: str
    module: str
    command: tuple[str, ...]
    image: str | None = None
    machine: Machine
    events: tuple[Event, ...]
    seed: int
    target_p95: Amount | None = None
    settings: tuple[Setting, ...]

    @property
    def best(self) -> Setting | None:
        """The setting that keeps the target at the highest load; of equals, that with least places."""
        keeping = [each for each in self.settings if each.highest_rate]
        return max(
            keeping,
            key=lambda each: (each.highest_rate or 0, -each.replicas * each.concurrency),
            default=None,
        )

    def setting(self, replicas: int, concurrency: int) -> Setting | None:
        """The setting with these numbers, where it was measured."""
        return next(
            (
                each
                for each in self.settings
                if (each.replicas, each.concurrency) == (replicas, concurrency)
            ),
            None,
        )

    def write(self, file: Path) -> None:
        """Write the file in one step."""
        draft = file.with_name(f"{file.name}.new")
        try:
            draft.write_bytes(msgspec.json.encode(self))
            draft.replace(file)
        except OSError as error:
            raise CmError(
                f"The result cannot be written: {error.strerror}",
                where=str(file),
                code="CannotWrite",
                exit_code=USAGE,
            ) from None

    @classmethod
    def read(cls, file: Path) -> Result:
        """What a file holds; raises `CmError` where it holds no result, or one of another version."""
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except OSError as error:
            raise CmError(
                f"The result cannot be read: {error.strerror}", where=str(file), exit_code=USAGE
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CmError(
                f"This file is not a result of this version of cm bench: {error}",
                where=str(file),
                fix="Make one: cm bench --output FILE.json",
                code="NotAResult",
                exit_code=USAGE,
            ) from None
