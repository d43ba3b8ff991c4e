"""What a change did: one result of `cm bench` beside an earlier one, with the noise stated."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from foundry_cm.load.result import Result, Run, Setting

# Of 100 figures that did not change, at most five look as if they had (measured: one or two).
CONFIDENCE = 0.95
LEAST_RUNS = 3
_DRAWS = 4000
# The machine itself counts as another one beyond this.
_SAME_PACE = 0.05


@dataclass(frozen=True)
class Change:
    """One figure of one setting, before and after; `low` and `high` bound its ratio, but for chance.

    Without bounds there were too few runs to tell.
    """

    setting: str
    figure: str
    before: float
    after: float
    more_is_better: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `same` within the noise, or `unknown`."""
        if self.low is None or self.high is None:
            return "unknown"
        if self.low <= 1 <= self.high:
            return "same"
        return "better" if (self.low > 1) == self.more_is_better else "worse"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "too few runs to tell: --runs 5"
        bounds = f"{_percent(self.low)} to {_percent(self.high)}"
        if self.verdict == "same":
            return f"no difference beyond the noise ({bounds})"
        return f"{self.verdict} ({bounds})"


_FIGURES: tuple[tuple[str, bool, Callable[[Run], float]], ...] = (
    ("calls/s", True, lambda run: run.throughput),
    ("p50", False, lambda run: run.latency.p50),
    ("p95", False, lambda run: run.latency.p95),
)


def compare(before: Result, after: Result) -> list[Change]:
    """The figures of all settings that both have."""
    changes = []
    for setting in after.settings:
        earlier = before.setting(setting.replicas, setting.concurrency)
        if earlier is None:
            continue
        for name, more, figure in _FIGURES:
            old, new = ([figure(run) for run in each.closed.runs] for each in (earlier, setting))
            changes.append(_change(setting, name, old, new, more))
        old, new = (
            [start.until_ready for start in each.cold_starts] for each in (earlier, setting)
        )
        changes.append(_change(setting, "start", old, new, False))
    return changes


def differences(before: Result, after: Result) -> list[str]:
    """What else is not the same in the two, and so may be the cause of any difference."""
    found = []
    if before.events != after.events:
        found.append("other events, or other weights, were sent")
    if (before.image is None) != (after.image is None):
        found.append("one ran in a container, and the other did not")
    if before.machine != after.machine:
        found.append("it was measured on another machine, or with another Python")
    old, new = (_pace(each) for each in (before, after))
    if old and new and abs(new / old - 1) > _SAME_PACE:
        word = "faster" if new > old else "slower"
        found.append(
            f"the machine itself was {abs(new / old - 1):.0%} {word}, by a fixed piece of work "
            "before each start"
        )
    return found


def _pace(result: Result) -> float:
    paces = [run.pace for setting in result.settings for run in setting.closed.runs if run.pace]
    return statistics.median(paces) if paces else 0.0


def _change(
    setting: Setting,
    figure: str,
    before: Sequence[float],
    after: Sequence[float],
    more_is_better: bool,
) -> Change:
    old, new = _mean(before), _mean(after)
    low, high = ratio_bounds(before, after) or (None, None)
    return Change(setting.name, figure, old, new, more_is_better, low, high)


def ratio_bounds(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Between which ratios of the means the true one lies; None where the runs are too few to tell.

    Each run is one observation. The mean of a few is as uncertain as Student's distribution says, and
    the difference of two such means is drawn many times (Behrens and Fisher's problem). A bootstrap of
    five runs raised twice as many false alarms as it stated, for it cannot draw what it has not seen.
    """
    if min(len(before), len(after)) < LEAST_RUNS or min(*before, *after) <= 0:
        return None
    drawn = []
    for which, values in enumerate((before, after)):
        logs = [math.log(value) for value in values]
        mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
        drawn.append([mean + error * each for each in _student(len(logs) - 1, which)])
    differences = sorted(new - old for old, new in zip(*drawn, strict=True))
    edge = int((1 - CONFIDENCE) / 2 * _DRAWS)
    return math.exp(differences[edge]), math.exp(differences[-edge - 1])


@cache
def _student(freedom: int, seed: int) -> list[float]:
    """Values drawn from Student's distribution, the same each time."""
    chance = random.Random(seed)  # noqa: S311  # nothing is kept secret with it
    return [
        chance.gauss(0, 1) / math.sqrt(chance.gammavariate(freedom / 2, 2 / freedom))
        for _ in range(_DRAWS)
    ]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _percent(ratio: float) -> str:
    if ratio > 10:
        return "more than tenfold"
    return f"{ratio - 1:+.0%}"
