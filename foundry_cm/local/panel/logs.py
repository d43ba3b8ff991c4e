"""What the replicas have printed: the last lines, each with its level and the call that it belongs to."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from foundry_cm.errors import printable

MOST_LINES, MOST_BYTES = 100_000, 32_000_000
# What one message to a page takes with it.
PIECE = 2_000
# A page shows the beginning of a line; nobody reads a megabyte in one.
_LONGEST = 4_000
_LEVEL = re.compile(
    r"\b(?:(TRACE|DEBUG)|(INFO|NOTICE)|(WARN|WARNING)|(ERROR|CRITICAL|FATAL|SEVERE))\b"
)
_LEVELS = ("debug", "info", "warning", "error")
_LEVEL_WITHIN = 120
_TRACEBACK = ("Traceback (most recent call last):", "  + Exception Group Traceback")
_JOB = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Line(NamedTuple):
    """One line; `replica` is -1 for what the local Foundry says itself.

    `sure`: the line names its job. Otherwise it is the only one that the replica worked on.
    """

    number: int
    at: float
    replica: int
    level: str
    job: str
    sure: bool
    text: str


class LogStore:
    """The last lines of all replicas, numbered from 1; old ones go when there are too many."""

    def __init__(
        self,
        is_job: Callable[[str], bool] = lambda _job: False,
        only_job: Callable[[int], str] = lambda _replica: "",
    ) -> None:
        self._is_job, self._only_job = is_job, only_job
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._last = 0
        # By replica: the level and job of a message whose further lines may follow, and whether these
        # are of a traceback.
        self._message: dict[int, tuple[str, str, bool]] = {}

    def add(self, replica: int, texts: Sequence[str]) -> None:
        """Take lines that a replica printed together."""
        now, only = time.time(), self._only_job(replica) if replica >= 0 else ""
        for text in texts:
            level, job = self._sort(replica, text)
            self._last += 1
            line = Line(
                self._last, now, replica, level, job or only, bool(job), printable(text[:_LONGEST])
            )
            self._lines.append(line)
            self._bytes += len(line.text)
        while len(self._lines) > MOST_LINES or self._bytes > MOST_BYTES:
            self._bytes -= len(self._lines.popleft().text)

    def say(self, text: str, level: str = "info") -> None:
        """A line of the local Foundry's own."""
        self.add(-1, [f"{level.upper()} {text}"])

    def _sort(self, replica: int, text: str) -> tuple[str, str]:
        """The level and job of a line: its own, or those of the message that it goes on with."""
        level, job, in_traceback = self._message.get(replica, ("", "", False))
        found = _LEVEL.search(text, 0, _LEVEL_WITHIN)
        named = self._job_in(text)
        if text.startswith(_TRACEBACK):
            # With logging.exception it follows the message; alone, or behind one that is no failure, it is
            # a failure that nobody logged.
            if level not in ("warning", "error"):
                level, job = "error", ""
            in_traceback = True
        elif in_traceback and text[:1] in (" ", "", "|"):
            pass
        elif in_traceback and not found:
            # The exception itself ends the traceback, and belongs to it.
            self._message[replica] = ("", "", False)
            return level, named or job
        elif not found:
            # A line of its own, from a print; or an indented one that goes on.
            level, job, in_traceback = (level, job, False) if text[:1] == " " else ("", "", False)
        else:
            level, job = _LEVELS[(found.lastindex or 1) - 1], ""
            in_traceback = False
        job = named or job
        self._message[replica] = (level, job, in_traceback)
        return level, job

    def _job_in(self, text: str) -> str:
        if text.count("-") < 4:
            return ""
        return next(filter(self._is_job, _JOB.findall(text)), "")

    def since(self, number: int) -> tuple[int, Any] | None:
        """A piece of the lines after a number, the newest only at the first time; for the live feed."""
        if number < 0:
            number = max(0, self._last - PIECE)
        if number >= self._last:
            return None
        lines = self.after(number)
        return lines[-1].number, {"lines": lines}

    def after(self, number: int) -> list[Line]:
        """The first lines after a number."""
        if not self._lines:
            return []
        skipped = max(0, number + 1 - self._lines[0].number)
        return list(islice(self._lines, skipped, skipped + PIECE))

    def before(self, number: int) -> list[Line]:
        """The last lines before a number."""
        if not self._lines:
            return []
        end = max(0, min(number - self._lines[0].number, len(self._lines)))
        return list(islice(self._lines, max(0, end - PIECE), end))
