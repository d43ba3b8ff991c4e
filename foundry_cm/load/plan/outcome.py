"""What a simulated deployment did: what its callers waited, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foundry_cm.load.plan.demand import Demand
from foundry_cm.load.plan.fleet import Fleet, Moment
from foundry_cm.module.scaler import Rules

HOUR = 3600.0
# Compute seconds for each second of a vCPU, and of each kind of GPU (usage rates page, May 2026).
VCPU_RATE = 0.2
GPU_RATES = {"t4": 1.2, "v100": 3.0, "a100": 1.3, "a10g": 1.5, "l4": 2.1, "h100": 4.7}
# So much memory counts as one vCPU (usage page).
GIB_PER_VCPU = 7.5

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """What one replica has. Foundry's default is 1 vCPU, 4 GB and no GPU."""

    vcpus: float = 1.0
    gib: float = 4.0
    gpu: str | None = None

    @property
    def rate(self) -> float:
        """Compute seconds that one second of a replica costs, by the published formula."""
        gpu = GPU_RATES[self.gpu] if self.gpu else 0.0
        return max(self.vcpus, self.gib / GIB_PER_VCPU) * VCPU_RATE + gpu


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One simulation. Latencies are seconds from the arrival of a call to its answer."""

    rules: Rules
    days: float
    calls: float
    p50: float
    p95: float
    p99: float
    # Calls that still waited for a replica when the simulation ended.
    waiting: float
    # Replicas that were started, and replicas times seconds, starts included.
    starts: int
    paid: float
    # For each hour: the 95 % point of its calls; NaN for an hour without.
    hours: tuple[float, ...]
    moments: tuple[Moment, ...]

    @classmethod
    def of(
        cls,
        fleet: Fleet,
        demand: Demand,
        arrived: ArrayLike,
        latencies: ArrayLike,
        weights: ArrayLike | None = None,
        waiting: float = 0,
    ) -> Outcome:
        """Sum up a simulation; a latency with a weight stands for so many calls."""
        times, waits = np.asarray(arrived, float), np.asarray(latencies, float)
        counts = np.ones_like(waits) if weights is None else np.asarray(weights, float)
        # Calls are answered in another order than they arrive in.
        order = np.argsort(times, kind="stable")
        times, waits, counts = times[order], waits[order], counts[order]
        edges = np.searchsorted(times, np.arange(1, np.ceil(demand.seconds / HOUR)) * HOUR)
        p50, p95, p99 = (_quantile(waits, counts, part) for part in (0.5, 0.95, 0.99))
        by_hour = zip(np.split(waits, edges), np.split(counts, edges), strict=True)
        return cls(
            rules=fleet.rules,
            days=demand.days,
            calls=float(counts.sum()) + waiting,
            p50=p50,
            p95=p95,
            p99=p99,
            waiting=waiting,
            starts=fleet.starts,
            paid=fleet.paid,
            hours=tuple(_quantile(each, count, 0.95) for each, count in by_hour),
            moments=tuple(fleet.moments),
        )

    def keeps(self, target_p95: float) -> bool:
        """Whether it keeps a latency, and keeps up with the load."""
        return self.p95 <= target_p95 and self.waiting <= max(10.0, 0.001 * self.calls)

    @property
    def worst_hour(self) -> float:
        """The highest 95 % point of an hour."""
        return max((each for each in self.hours if each == each), default=float("nan"))

    @property
    def starts_a_day(self) -> float:
        """How many replicas start in a day."""
        return self.starts / self.days

    @property
    def replica_hours(self) -> float:
        """Hours of all replicas together, in a day."""
        return self.paid / HOUR / self.days

    def compute_seconds(self, size: Size) -> float:
        """What a day costs."""
        return self.paid * size.rate / self.days


def _quantile(values: Numbers, weights: Numbers, part: float) -> float:
    """The value below which this part of the weights lies; NaN where there are none."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    if not len(total) or total[-1] <= 0:
        return float("nan")
    place = int(np.searchsorted(total, part * total[-1]))
    return float(values[order[min(place, len(order) - 1)]])
