"""The simulation of each call: it arrives, waits for a place, is answered."""

from __future__ import annotations

import random
from array import array
from collections import deque
from collections.abc import Generator
from functools import partial

import simpy

from foundry_cm.load.plan.demand import MINUTE, Demand
from foundry_cm.load.plan.fleet import Fleet, Replica
from foundry_cm.load.plan.outcome import Outcome
from foundry_cm.load.plan.service import Service
from foundry_cm.module.scaler import Rules


class _Calls:
    """The calls of one simulation. Foundry's queue is one for all replicas, and in the order of arrival."""

    def __init__(self, fleet: Fleet, service: Service, demand: Demand) -> None:
        self.fleet, self.service, self.demand = fleet, service, demand
        self.env, self.chance = fleet.env, fleet.chance
        self.waiting = deque[float]()
        # When each call arrived, and how long its caller waited.
        self.arrived, self.latencies = array("d"), array("d")
        fleet.changed = self.hand_out

    def arrive(self) -> Generator[simpy.Event]:
        """Calls at random: those of a minute have no memory of one another."""
        for minute, rate in enumerate(self.demand.rates):
            end = (minute + 1) * MINUTE
            while rate and (gap := self.chance.expovariate(rate / MINUTE)) < end - self.env.now:
                yield self.env.timeout(gap)
                self.waiting.append(self.env.now)
                self.hand_out()
            yield self.env.timeout(max(0.0, end - self.env.now))

    def look(self) -> Generator[simpy.Event]:
        """The scaler looks at the load even when no call comes or goes."""
        while True:
            next_look = self.fleet.scaler.next_look - self.fleet.begins
            yield self.env.timeout(max(0.0, next_look - self.env.now))
            self.step()

    def step(self) -> None:
        running = sum(replica.running for replica in self.fleet.replicas)
        self.fleet.step(running, len(self.waiting))

    def hand_out(self) -> None:
        """Give waiting calls to the replicas that have a place, the emptiest first."""
        places = self.fleet.rules.concurrency
        while self.waiting:
            free = [each for each in self.fleet.replicas if each.ready and each.running < places]
            if not free:
                break
            replica = min(free, key=lambda each: each.running) if len(free) > 1 else free[0]
            replica.running += 1
            done = self.env.timeout(self.service.draw(self.chance))
            done.callbacks.append(partial(self.answer, replica, self.waiting.popleft()))
        self.step()

    def answer(self, replica: Replica, arrived: float, _: simpy.Event) -> None:
        replica.running -= 1
        self.arrived.append(arrived)
        self.latencies.append(self.env.now - arrived)
        if replica.leaving and not replica.running:
            self.fleet.ended(replica)
        self.hand_out()


def simulate(
    rules: Rules, service: Service, cold_starts: tuple[float, ...], demand: Demand, seed: int = 1
) -> Outcome:
    """What callers of a deployment with these rules wait, call by call."""
    env = simpy.Environment()
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    fleet = Fleet(env, rules, demand.begins, cold_starts, chance)
    calls = _Calls(fleet, service, demand)
    env.process(calls.arrive())
    env.process(calls.look())
    env.run(until=demand.seconds)
    fleet.close()
    return Outcome.of(fleet, demand, calls.arrived, calls.latencies, waiting=len(calls.waiting))
