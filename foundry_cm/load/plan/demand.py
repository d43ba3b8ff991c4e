"""The calls that a module is to be planned for: so many a minute, over a week."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import cycle, islice
from pathlib import Path
from zoneinfo import ZoneInfo

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.scaler import Override

# A Monday at midnight, in a week in which no clock is changed.
_MONDAY = datetime(2026, 1, 12)
_MOST_BYTES = 50_000_000
MINUTE, DAY = 60.0, 86_400.0
# The fewest calls that a plan can stand on, and the most days that are simulated.
FEWEST_CALLS, MOST_DAYS = 10, 28


@dataclass(frozen=True)
class Demand:
    """Calls a minute from a time on (Unix seconds), for each of the minutes that are simulated."""

    name: str
    begins: float
    rates: tuple[float, ...]
    zone: tzinfo = UTC
    # When there are more calls than at other times, where that is known.
    hours: Override | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.rates) * MINUTE

    @property
    def days(self) -> float:
        """The same in days."""
        return self.seconds / DAY

    @property
    def calls(self) -> float:
        """How many calls are expected in all."""
        return sum(self.rates)

    @property
    def peak(self) -> float:
        """The most calls in a minute."""
        return max(self.rates)

    def enough(self) -> Demand:
        """Itself; raises `CmError` where it has too few calls for a p95 to mean anything."""
        if self.calls >= FEWEST_CALLS:
            return self
        days = math.ceil(self.days * FEWEST_CALLS / self.calls)
        raise CmError(
            f"The load comes to {self.calls:.2g} calls in all: too few for a p95",
            fix=f"Simulate {days} days: --days {days}"
            if days <= MOST_DAYS
            else "Plan for more calls",
            exit_code=USAGE,
        )

    def at(self, seconds: float) -> float:
        """Calls a minute, so many seconds after it began."""
        return self.rates[min(int(seconds // MINUTE), len(self.rates) - 1)]


def constant(calls: float, days: int) -> Demand:
    """The same number of calls in each minute."""
    return Demand(f"{calls:g} calls a minute", _begin(UTC), (calls,) * (days * 1440))


def office(calls: float, hours: Override, outside: float, days: int) -> Demand:
    """So many calls a minute in some hours of some days, and others at all other times."""
    zone = ZoneInfo(hours.zone)
    begins = _begin(zone)
    times = (begins + minute * MINUTE for minute in range(days * 1440))
    rates = tuple(calls if hours.active(time) else outside for time in times)
    if calls not in rates:
        raise CmError(
            "The simulated days, from Monday on, contain none of these hours",
            fix="Simulate a week: --days 7",
            exit_code=USAGE,
        )
    when = str(hours).rpartition(" ")[0]
    name = f"{calls:g} calls a minute {when}, else {outside:g}"
    return Demand(name, begins, rates, zone, hours)


def from_csv(file: Path, days: int) -> Demand:
    """The numbers of a column `calls`, one line for each minute; a shorter file is repeated."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise _unusable(file, "it has more than 50 MB")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rates = list(_column(file, csv.DictReader(lines)))
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unusable(file, f"it is no CSV in UTF-8 ({error})") from None
    if not any(rates):
        raise _unusable(file, "it has no calls")
    wanted = tuple(islice(cycle(rates), days * 1440))
    return Demand(f"{file.name}, {len(rates):,} minutes", _begin(UTC), wanted)


def _column(file: Path, rows: csv.DictReader[str]) -> Iterator[float]:
    if "calls" not in (rows.fieldnames or ()):
        raise _unusable(file, 'it has no column "calls"', where=f"{file}:1")
    for row in rows:
        text = row["calls"] or ""
        try:
            calls = float(text)
        except ValueError:
            calls = math.nan
        if not 0 <= calls < 1e6:
            where = f"{file}:{rows.line_num}"
            raise _unusable(file, f'"{text}" is no number of calls in a minute', where=where)
        yield calls


def _unusable(file: Path, reason: str, where: str | None = None) -> CmError:
    return CmError(
        f"The load cannot be read: {reason}",
        where=where or str(file),
        fix='Give a CSV file with a column "calls": the calls of a minute in each line',
        code="InvalidLoad",
        exit_code=USAGE,
    )


def _begin(zone: tzinfo) -> float:
    return _MONDAY.replace(tzinfo=zone).timestamp()
