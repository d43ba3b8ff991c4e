"""Foundry's scaler as a state machine, without a clock: `cm serve --autoscale` and `cm plan` step it.

Its rules are those of the documentation (foundry docs: scaling and volumes pages, May 2026). What the
documentation leaves open is marked as inferred, and named once, here. Predictive scaling is left out:
how it predicts is not published.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from foundry_cm.errors import USAGE, CmError

# Scaling page, "Load thresholds": a replica is added at or above the first, removed below the second.
UP_THRESHOLD = DOWN_THRESHOLD = 0.75
# Scaling page, "Delays": how long the load must have been there.
UP_SECONDS, DOWN_SECONDS = 60.0, 30 * 60.0
# Volumes page: the longest that a replica lives.
LIFETIME_SECONDS = 22 * 3600.0
# Inferred: the load is looked at this often, as the mean since the last look. Nothing is published.
# With the load of a moment instead, one idle millisecond would begin the minute anew.
LOOK_SECONDS = 10.0

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OVERRIDE = re.compile(
    r"(?P<days>[a-z,-]+) (?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+) "
    r"(?P<minimum>\d+)-(?P<maximum>\d+)"
)


@dataclass(frozen=True, kw_only=True)
class Override:
    """The one scheduled override: another minimum and maximum at some hours of some days.

    Inferred: one that ends at or before its start ends on the next day.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: str
    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        _check_bounds(self.minimum, self.maximum)

    @classmethod
    def parse(cls, text: str) -> Override:
        """Read an override such as `mon-fri 08:00-18:00 Europe/Berlin 2-6`.

        The last two numbers are the minimum and the maximum. Raises `CmError`.
        """
        found = _OVERRIDE.fullmatch(text.strip())
        if not found:
            raise _unreadable(text, "it has another form")
        try:
            days = _days(found["days"])
        except ValueError:
            raise _unreadable(text, f"{found['days']} are no days") from None
        try:
            ZoneInfo(found["zone"])
        except (ValueError, OSError, KeyError):
            raise _unreadable(text, f"there is no time zone {found['zone']} here") from None
        try:
            start, end = time.fromisoformat(found["start"]), time.fromisoformat(found["end"])
        except ValueError:
            raise _unreadable(text, "hours go from 00:00 to 23:59") from None
        minimum, maximum = int(found["minimum"]), int(found["maximum"])
        return cls(
            days=days, start=start, end=end, zone=found["zone"], minimum=minimum, maximum=maximum
        )

    def __str__(self) -> str:
        first, last = min(self.days), max(self.days)
        in_a_row = len(self.days) > 2 and len(self.days) == last - first + 1
        named = [DAYS[day] for day in sorted(self.days)]
        days = f"{named[0]}-{named[-1]}" if in_a_row else ",".join(named)
        hours = f"{self.start:%H:%M}-{self.end:%H:%M}"
        return f"{days} {hours} {self.zone} {self.minimum}-{self.maximum}"

    def active(self, now: float) -> bool:
        """Whether it applies at a time (Unix seconds)."""
        local = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        today, moment = local.weekday(), local.time()
        if self.start < self.end:
            return today in self.days and self.start <= moment < self.end
        began_yesterday = (today - 1) % 7 in self.days and moment < self.end
        return (today in self.days and moment >= self.start) or began_yesterday


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The settings of a deployment that decide on its replicas."""

    minimum: int = 1
    maximum: int = 1
    concurrency: int = 1
    override: Override | None = None
    up_threshold: float = UP_THRESHOLD
    down_threshold: float = DOWN_THRESHOLD
    up_seconds: float = UP_SECONDS
    down_seconds: float = DOWN_SECONDS
    lifetime_seconds: float = LIFETIME_SECONDS

    def __post_init__(self) -> None:
        _check_bounds(self.minimum, self.maximum)
        if not 0 <= self.down_threshold <= self.up_threshold <= 1:
            raise CmError(
                "The thresholds are between 0 and 1, and that for scaling down is not the higher one",
                exit_code=USAGE,
            )
        if self.up_seconds > self.down_seconds:
            raise CmError(
                "The delay for scaling up is at most as long as that for scaling down",
                exit_code=USAGE,
            )

    def bounds(self, now: float) -> tuple[int, int]:
        """The minimum and the maximum at a time (Unix seconds)."""
        if self.override and self.override.active(now):
            return self.override.minimum, self.override.maximum
        return self.minimum, self.maximum


class Scaler:
    """How many replicas Foundry wishes, from what it sees of the calls; times are Unix seconds.

    `wished` begins at the minimum, and at one where that is zero: a first deployment starts at once.
    """

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules = rules
        self._seen = now
        self._next_look = now + LOOK_SECONDS
        self._running = 0.0
        self._active = False
        # Of the time since the last look: calls and places, each times the seconds that they were there.
        self._busy = self._places = 0.0
        self._above = self._below = 0.0
        self._minute: float | None = None
        self.minimum, self.maximum = rules.bounds(now)
        self.wished = min(max(1, self.minimum), self.maximum)
        # Of the last change of it.
        self.why = "it is the first deployment"
        self._replicas = self.wished

    @property
    def next_look(self) -> float:
        """When the load is looked at next: `step` is to be called then, if no call comes or goes."""
        return self._next_look

    def step(
        self,
        now: float,
        *,
        running: float,
        replicas: int,
        queued: int = 0,
        active: bool | None = None,
    ) -> int:
        """Take note that from `now` on so many calls run and so many wait; gives the wished replicas.

        Where `running` is the mean of some seconds, `active` tells whether there is a call at this moment.

        `replicas` are those that are there. Inferred: one that starts counts from its beginning, and
        one that was told to end neither counts itself nor do its calls. A call that waits is no part
        of the load ("current running job count"), but ends the state of zero replicas at once.
        """
        while self._next_look <= now:
            self._pass(self._next_look)
            self._look()
        self._pass(now)
        self._running, self._replicas = running, replicas
        self._active = running + queued > 0 if active is None else active
        self._keep_bounds(now)
        if self.wished == 0 and self._active:
            self._wish(1, "a call came")
        return self.wished

    def _pass(self, until: float) -> None:
        seconds = until - self._seen
        if seconds > 0:
            self._busy += self._running * seconds
            self._places += self._replicas * self.rules.concurrency * seconds
            self._seen = until

    def _look(self) -> None:
        """Compare the mean load since the last look with the thresholds."""
        load = self._busy / self._places if self._places else 0.0
        self._busy = self._places = 0.0
        self._next_look += LOOK_SECONDS
        rules = self.rules
        self._above = self._above + LOOK_SECONDS if load >= rules.up_threshold else 0.0
        self._below = self._below + LOOK_SECONDS if load < rules.down_threshold else 0.0
        self._keep_bounds(self._seen)
        if self._above >= rules.up_seconds and self.wished < self.maximum:
            why = f"the load was {rules.up_threshold:g} or more for {_minutes(rules.up_seconds)}"
            self._wish(self.wished + 1, why)
        # The last one goes only "when there are no active requests".
        may_go = self.wished > self.minimum and (self.wished > 1 or not self._active)
        if self._below >= rules.down_seconds and may_go:
            below = _minutes(rules.down_seconds)
            self._wish(self.wished - 1, f"the load was below {rules.down_threshold:g} for {below}")

    def _keep_bounds(self, now: float) -> None:
        """Inferred: when the schedule changes the bounds, they hold at once, for all replicas.

        A minimum of zero asks for none: the last replica goes by the load.
        """
        minute = now // 60
        if minute == self._minute:
            return
        self._minute = minute
        self.minimum, self.maximum = self.rules.bounds(now)
        if not self.minimum <= self.wished <= self.maximum:
            self._wish(
                min(max(self.wished, self.minimum), self.maximum),
                f"the schedule asks for {self.minimum} to {self.maximum}",
            )

    def _wish(self, replicas: int, why: str) -> None:
        """One step; inferred: the next has the whole delay before it."""
        self.wished, self.why = replicas, why
        self._above = self._below = 0.0


def leaves_first(replicas: Sequence[tuple[int, float]]) -> int:
    """Which of the replicas is taken away: its place among pairs of running calls and time of start.

    Inferred: the one with the fewest calls, and of those the oldest.
    """
    return min(range(len(replicas)), key=lambda index: replicas[index])


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def _unreadable(text: str, reason: str) -> CmError:
    return CmError(
        f'The schedule "{text}" cannot be read: {reason}',
        fix="Days, hours, time zone, minimum and maximum, such as: "
        "mon-fri 08:00-18:00 Europe/Berlin 2-6",
        code="InvalidSchedule",
        exit_code=USAGE,
    )


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(found)


def _check_bounds(minimum: int, maximum: int) -> None:
    if maximum < 1:
        raise CmError("The maximum of replicas is at least 1", exit_code=USAGE)
    if not 0 <= minimum <= maximum:
        raise CmError(
            f"The minimum of replicas, {minimum}, is not between 0 and the maximum, {maximum}",
            exit_code=USAGE,
        )
