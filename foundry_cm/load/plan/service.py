"""How long one call takes in a replica, once it is handed out."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean, pvariance

from foundry_cm.load.result import Result, Times

_POINTS = 400


@dataclass(frozen=True)
class Service:
    """The times of calls in seconds, in order, each as likely as the others."""

    points: tuple[float, ...]

    @classmethod
    def typed(cls, typical: float, p95: float | None = None) -> Service:
        """Always so long; with a 95 % point, spread as such times mostly are (log-normal)."""
        if p95 is None or p95 <= typical:
            return cls((typical,))
        spread = math.log(p95 / typical) / NormalDist().inv_cdf(0.95)
        normal = NormalDist(math.log(typical), spread)
        return cls(tuple(math.exp(normal.inv_cdf((n + 0.5) / _POINTS)) for n in range(_POINTS)))

    @classmethod
    def of(cls, times: Times) -> Service:
        """Those that `cm bench` measured."""
        return cls(times.points)

    @cached_property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.points)

    @cached_property
    def variation(self) -> float:
        """The square of their coefficient of variation: 0 where all are alike, 1 for exponential ones."""
        return pvariance(self.points) / self.mean**2

    def draw(self, chance: random.Random) -> float:
        """The time of one call."""
        return chance.choice(self.points)


def measured(result: Result) -> dict[int, Service]:
    """The times of a full replica, by concurrency: from the settings with one replica, which had all cores."""
    return {
        setting.concurrency: Service.of(setting.closed.service)
        for setting in result.settings
        if setting.replicas == 1 and setting.closed.service.points
    }


def measured_starts(result: Result) -> tuple[float, ...]:
    """Seconds from the start of a replica until it asked for work."""
    starts = (start for setting in result.settings for start in setting.cold_starts)
    return tuple(start.until_ready for start in starts)
