"""The simulation of many calls at once: those of a few seconds are one amount of work.

It is what `simulate` of `foundry_cm.load.plan.calls` is, in a fraction of the time: the same replicas, the
same scaler. What single callers wait comes from queueing theory.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import simpy

from foundry_cm.load.plan.demand import MINUTE, Demand
from foundry_cm.load.plan.fleet import Fleet
from foundry_cm.load.plan.outcome import Outcome
from foundry_cm.load.plan.service import Service
from foundry_cm.module.scaler import LOOK_SECONDS, Rules

# How many callers stand for all of a slice, each at another moment of it.
_SAMPLES = 10


class _Slice(NamedTuple):
    """The callers of a few seconds: how many, and what they wait for a place.

    Those at its beginning and at its end wait behind the others; beside that, by chance, a part of
    them waits, and that part this long on average.
    """

    start: float
    calls: float
    first_wait: float
    last_wait: float
    part: float
    mean_wait: float


@dataclass
class _Amounts:
    """The calls of one simulation, as an amount that comes, is worked on, and goes."""

    fleet: Fleet
    service: Service
    demand: Demand
    arrivals: np.ndarray[tuple[int], np.dtype[np.int64]]
    # Calls that are in replicas or wait.
    inside: float = 0.0
    slices: list[_Slice] = field(default_factory=list)

    @property
    def places(self) -> int:
        """How many calls can run at once now."""
        return len(self.fleet.ready) * self.fleet.rules.concurrency

    def pass_by(self) -> Generator[simpy.Event]:
        """Slice by slice, each as long as the scaler takes between two looks."""
        env, mean = self.fleet.env, self.service.mean
        for arrivals in self.arrivals:
            places = self.places
            before, come = self.inside, int(arrivals)
            self.inside = _later(before, come / LOOK_SECONDS, places, mean)
            self._note(before, places)
            running = (before + come - self.inside) * mean / LOOK_SECONDS
            self._look()
            places = self.places
            self.fleet.step(running, 0 if places else math.ceil(self.inside), self._active(places))
            yield env.timeout(LOOK_SECONDS)

    def _look(self) -> None:
        """Let the last replica go before the next calls come, at a moment at which none runs."""
        were_there = bool(self.fleet.replicas)
        self.fleet.step(0, 0, active=False)
        if were_there and not self.fleet.replicas:
            self.inside = 0.0

    def _active(self, places: int) -> bool:
        """Whether a call runs or waits now: while none waits, as many run as a Poisson draw gives."""
        if self.inside > places:
            return True
        return self.fleet.chance.random() < -math.expm1(-self.inside)

    def _note(self, before: float, places: int) -> None:
        now, mean = self.fleet.env.now, self.service.mean
        rate = self.demand.at(now) / MINUTE
        if not rate:
            return
        until_ready = 0.0 if places else self.fleet.next_ready
        working = places or self.fleet.rules.concurrency
        first, last = (
            until_ready + max(0.0, calls - places) * mean / working
            for calls in (before, self.inside)
        )
        if until_ready and len(self.fleet.replicas):
            last = max(0.0, last - LOOK_SECONDS)
        part, wait = _by_chance(rate * mean, places)
        wait *= mean * (1 + self.service.variation) / 2
        self.slices.append(_Slice(now, rate * LOOK_SECONDS, first, last, part, wait))


def _later(inside: float, rate: float, places: int, mean: float) -> float:
    """How many calls there are a slice later: each of those in a place ends after the mean time."""
    level, left = rate * mean, LOOK_SECONDS
    if inside > places:
        growth = rate - places / mean
        until_none_waits = (inside - places) / -growth if growth < 0 else math.inf
        if until_none_waits >= left:
            return inside + growth * left
        inside, left = places, left - until_none_waits
    calm = level + (inside - level) * math.exp(-left / mean)
    if calm <= places:
        return calm
    until_full = mean * math.log((level - inside) / (level - places))
    return places + (rate - places / mean) * (left - until_full)


@cache
def _by_chance(load: float, places: int) -> tuple[float, float]:
    """Erlang C: which part of the callers waits, and how many mean service times they do on average.

    `load` is calls a second times their mean time. Where it is more than the places, all wait for those
    before them, which is no matter of chance.
    """
    if load >= places:
        return 0.0, 0.0
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = load * blocked / (place + load * blocked)
    part = blocked / (1 - load / places * (1 - blocked))
    return part, 1 / (places - load)


def simulate_in_bulk(
    rules: Rules, service: Service, cold_starts: tuple[float, ...], demand: Demand, seed: int = 1
) -> Outcome:
    """What callers of a deployment with these rules wait, with calls as amounts."""
    env = simpy.Environment()
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    fleet = Fleet(env, rules, demand.begins, cold_starts, chance)
    draws = np.random.default_rng(seed)
    per_slice = np.repeat(np.asarray(demand.rates), int(MINUTE / LOOK_SECONDS))
    amounts = _Amounts(fleet, service, demand, draws.poisson(per_slice * LOOK_SECONDS / MINUTE))
    env.process(amounts.pass_by())
    env.run(until=demand.seconds)
    fleet.close()
    waiting = max(0.0, amounts.inside - amounts.places)
    start, calls, first, last, part, mean = np.array(amounts.slices).T[:, :, None]
    shape = (len(start), _SAMPLES)
    moment, luck = draws.random(shape), draws.random(shape)
    behind = first + (last - first) * moment
    # The waits of those who do wait have no memory.
    longer = np.log(np.maximum(part, 1e-300) / (1 - luck))
    by_chance = np.where(luck > 1 - part, mean * longer, 0.0)
    return Outcome.of(
        fleet,
        demand,
        (start + moment * LOOK_SECONDS).ravel(),
        (np.maximum(behind, by_chance) + draws.choice(service.points, shape)).ravel(),
        np.broadcast_to(calls / _SAMPLES, shape).ravel(),
        waiting,
    )
