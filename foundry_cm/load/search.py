"""The highest load that keeps a target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from foundry_cm.load.result import Measurement

# The answer is at most this far below what the setting would keep, in parts of its capacity.
PRECISION = 0.05
_FIRST, _HIGHEST = 0.75, 1.1
_TRIALS, _CONFIRMATIONS = 7, 3

# Measures an open load, in calls per second; the second argument asks for a longer look.
Measure = Callable[[float, bool], Awaitable[Measurement]]


async def highest_rate(
    measure: Measure, capacity: float, target_p95: float
) -> tuple[float, list[Measurement]]:
    """The highest rate of calls that keeps a p95, and all that was measured to find it; 0 is none.

    It halves the range between a rate that keeps the target and one that does not. A rate at the edge
    keeps it by chance now and then, so the answer is measured once more, for longer, and lowered as
    long as it fails.
    """
    low, high = 0.0, _HIGHEST * capacity
    rate = _FIRST * capacity
    seen: list[Measurement] = []
    for _ in range(_TRIALS):
        if high - low <= PRECISION * capacity:
            break
        seen.append(await measure(rate, False))
        low, high = (rate, high) if seen[-1].keeps(target_p95) else (low, rate)
        rate = (low + high) / 2
    for _ in range(_CONFIRMATIONS):
        if not low:
            break
        seen.append(await measure(low, True))
        if seen[-1].keeps(target_p95):
            return low, seen
        low *= 1 - 2 * PRECISION
    return 0.0, seen
