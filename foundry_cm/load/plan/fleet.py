"""The replicas of a simulated deployment: the scaler wishes for them, and they start, serve and end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import simpy

from foundry_cm.module.scaler import Rules, Scaler, leaves_first


@dataclass(eq=False)
class Replica:
    """One replica: the time its start began, and the calls that it runs."""

    began: float
    ready: bool = False
    leaving: bool = False
    running: int = 0


@dataclass(frozen=True)
class Moment:
    """From `time` on (seconds since the beginning) so many replicas were ready, and so many there."""

    time: float
    ready: int
    there: int


@dataclass
class Fleet:
    """The replicas, as the scaler wants them. `changed` is called when one becomes ready."""

    env: simpy.Environment
    rules: Rules
    begins: float
    cold_starts: tuple[float, ...]
    chance: random.Random
    changed: Callable[[], None] = lambda: None
    replicas: list[Replica] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    starts: int = 0
    # Replicas times seconds, from the start of each to its end: what is paid for.
    paid: float = 0.0

    def __post_init__(self) -> None:
        self.scaler = Scaler(self.rules, self.begins)
        self._fit(self.scaler.wished)

    @property
    def ready(self) -> list[Replica]:
        """Those that take calls."""
        return [replica for replica in self.replicas if replica.ready]

    @property
    def next_ready(self) -> float:
        """In how many seconds the first of those that start can be ready, at the latest."""
        starting = [replica.began for replica in self.replicas if not replica.ready]
        return min(starting, default=self.env.now) + max(self.cold_starts) - self.env.now

    def step(self, running: float, queued: int, active: bool | None = None) -> None:
        """Let the scaler see the calls, and do what it wishes."""
        now, there = self.begins + self.env.now, len(self.replicas)
        wished = self.scaler.step(
            now, running=running, replicas=there, queued=queued, active=active
        )
        if wished != len(self.replicas):
            self._fit(wished)

    def ended(self, replica: Replica) -> None:
        """A replica that was to leave has answered its last call."""
        self.paid += self.env.now - replica.began

    def close(self) -> None:
        """The simulation ends: those that are there are paid for until now."""
        for replica in self.replicas:
            self.paid += self.env.now - replica.began

    def _fit(self, wished: int) -> None:
        while len(self.replicas) < wished:
            self._start()
        while len(self.replicas) > wished:
            loads = [(replica.running, replica.began) for replica in self.replicas]
            self._leave(self.replicas[leaves_first(loads)])

    def _start(self) -> None:
        replica = Replica(self.env.now)
        self.replicas.append(replica)
        self.starts += 1
        self._note()
        self._later(self.chance.choice(self.cold_starts), lambda: self._become_ready(replica))
        self._later(self.rules.lifetime_seconds, lambda: self._replace(replica))

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        self.env.timeout(seconds).callbacks.append(lambda _: work())

    def _become_ready(self, replica: Replica) -> None:
        if not replica.leaving:
            replica.ready = True
            self._note()
            self.changed()

    def _replace(self, replica: Replica) -> None:
        """Its life is over: it ends, and another one starts."""
        if not replica.leaving:
            self._leave(replica)
            self._start()

    def _leave(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        replica.leaving = True
        self._note()
        if not replica.running:
            self.ended(replica)

    def _note(self) -> None:
        self.moments.append(Moment(self.env.now, len(self.ready), len(self.replicas)))
