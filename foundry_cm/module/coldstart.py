"""The line in which a rendered module logs its start, read.

    Cold start: import 3.21 s, weights 0.04 s, load 1.92 s, warm-up 0.41 s, ready 5.58 s

The first step is `import` and the last `ready`, the sum of the others: the seconds from the start of
the process until it serves or reads. Between them stand the steps that this start had, the owner's
own among them. `template/src/cmkit/startup.py` writes the line.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass

_LINE = re.compile(r"Cold start: (import \d+\.\d\d s(?:, .+? \d+\.\d\d s)*, ready \d+\.\d\d s)$")
_STEP = re.compile(r"(.+?) (\d+\.\d\d) s(?:, |$)")


@dataclass(frozen=True)
class ColdStart:
    """Seconds of each step before the module was ready, in their order, and of all."""

    steps: dict[str, float]
    ready: float

    @classmethod
    def parse(cls, line: str) -> ColdStart | None:
        """What a line of a log says of the start, whatever stands before it; None for another line."""
        found = _LINE.search(_message(line.rstrip()))
        if not found:
            return None
        steps = {step: float(seconds) for step, seconds in _STEP.findall(found[1])}
        return cls(steps, steps.pop("ready"))

    @classmethod
    def last_in(cls, log: str) -> ColdStart | None:
        """The latest start that a log tells of."""
        starts = (cls.parse(line) for line in reversed(log.splitlines()))
        return next((start for start in starts if start), None)


def _message(line: str) -> str:
    """The message of a line that LOG_FORMAT=json made; any other line as it is."""
    if line.startswith("{") and "Cold start: " in line:
        with contextlib.suppress(ValueError, KeyError):
            return str(json.loads(line)["message"])
    return line
