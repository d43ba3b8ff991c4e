"""Whether a pipeline has nothing left to do, seen from outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from foundry_cm.local.platform.activity import Activity

IDLE_POLLS = 2
IDLE_LOOKS = 3
IDLE_SECONDS = 5.0
# Looks that come without a pause between them; one that never sleeps makes so many soon.
BUSY_POLLS = 200
COMPUTING = 0.5


class Rest:
    """Tells when a module rests.

    `paced`: it is the template's own loop, which lists an input only when all that it read before is
    written, so two listings without news are enough. Of another module nobody knows what it does
    between two calls: it rests when it has looked at its inputs again several times, with pauses, for
    some seconds without news, and did not compute meanwhile.
    """

    def __init__(self, activity: Activity, inputs: Sequence[str], *, paced: bool) -> None:
        self._activity = activity
        self._inputs = inputs
        self._paced = paced
        self._news_at = -1.0
        self._began, self._used = 0.0, 0.0
        self._polls = 0

    def reached(self, process: int | None) -> bool:
        """Whether the process, with its children, rests now; to be asked again and again."""
        activity = self._activity
        if self._paced:
            return activity.polls_since_change(self._inputs) >= IDLE_POLLS
        if activity.last_news != self._news_at:
            self._news_at = activity.last_news
            self._began, self._used = time.monotonic(), _cpu_seconds(process)
            self._polls = activity.lists.total()
        if time.monotonic() - self._began < IDLE_SECONDS:
            return False
        if activity.lists.total() - self._polls >= BUSY_POLLS:
            return True
        return activity.looks >= IDLE_LOOKS and not self._computes(process)

    def _computes(self, process: int | None) -> bool:
        used = _cpu_seconds(process) - self._used
        return used > COMPUTING * (time.monotonic() - self._began)


def _cpu_seconds(process: int | None) -> float:
    """The time in which a process and its children ran, or waited for a processor to run on.

    The second part counts: on a machine that is busy with other things, a module that computes has
    only a small part of a processor.
    """
    total = 0.0
    with contextlib.suppress(psutil.Error):
        if process is not None:
            parent = psutil.Process(process)
            for each in [parent, *parent.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    times = each.cpu_times()
                    total += times.user + times.system + _waited_seconds(each.pid)
                    # Of children that have ended already; Windows has no such figure.
                    total += getattr(times, "children_user", 0) + getattr(
                        times, "children_system", 0
                    )
    return total


def _waited_seconds(process: int) -> float:
    """How long the threads of a process waited for a processor, as Linux tells it."""
    waited = 0
    for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            waited += int(file.read_text(encoding="ascii").split()[1])
    return waited / 1e9
