"""How many calls there are and how long they take, second by second."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

KEPT_SECONDS = 300


@dataclass
class _Second:
    """The calls that ended within one second, by the clock."""

    at: int
    failed: int = 0
    milliseconds: list[float] = field(default_factory=list)
    queued: int = 0
    running: int = 0
    load: float = 0.0


class Load:
    """The last minutes, for the charts of the page; percentiles are of the calls of ten seconds."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque([_Second(int(time.time()))], maxlen=KEPT_SECONDS)

    def ended(self, milliseconds: float, *, failed: bool) -> None:
        """A call was answered."""
        second = self._now()
        second.milliseconds.append(milliseconds)
        second.failed += failed

    def seen(self, queued: int, running: int, load: float) -> None:
        """How busy the module is at this moment; the most of a second counts."""
        second = self._now()
        second.queued = max(second.queued, queued)
        second.running = max(second.running, running)
        second.load = max(second.load, load)

    def _now(self) -> _Second:
        now = int(time.time())
        for missed in range(max(self._seconds[-1].at + 1, now - KEPT_SECONDS), now + 1):
            self._seconds.append(_Second(missed))
        return self._seconds[-1]

    def since(self, second: int) -> tuple[int, Any] | None:
        """The seconds that are over and come after that one; for the live feed."""
        self._now()
        over = list(self._seconds)[:-1]
        if not over or over[-1].at <= second:
            return None
        return over[-1].at, {
            "seconds": [
                self._shown(number, each) for number, each in enumerate(over) if each.at > second
            ]
        }

    def _shown(self, number: int, second: _Second) -> dict[str, Any]:
        near = list(self._seconds)[max(0, number - 9) : number + 1]
        times = sorted(ms for each in near for ms in each.milliseconds)
        return {
            "at": second.at,
            "calls": len(second.milliseconds),
            "failed": second.failed,
            "p50": percentile(times, 0.5),
            "p95": percentile(times, 0.95),
            "queued": second.queued,
            "running": second.running,
            "load": round(second.load, 3),
        }


def percentile(values: list[float], part: float) -> float | None:
    """The value that so large a part of sorted values does not exceed."""
    return round(values[max(0, math.ceil(part * len(values)) - 1)], 2) if values else None
