"""The scaler's rules, each by the moment at which it acts: what Foundry documents, and what is inferred."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from foundry_cm.errors import CmError
from foundry_cm.module.scaler import LOOK_SECONDS, Override, Rules, Scaler, leaves_first

MINUTE, HOUR = 60.0, 3600.0
OFFICE = "mon-fri 08:00-18:00 Europe/Berlin 2-6"


def seconds_until(scaler: Scaler, wished: int, *, running: int, limit: float = HOUR) -> float:
    """How long the load has to last until so many replicas are wished."""
    began = now = scaler.next_look - LOOK_SECONDS
    while now < began + limit:
        if scaler.step(now, running=running, replicas=scaler.wished) == wished:
            return now - began
        now += 1
    raise AssertionError(f"{scaler.wished} after {limit} s")


def test_a_replica_comes_after_a_minute_at_the_threshold_and_one_at_a_time() -> None:
    scaler = Scaler(Rules(maximum=3, concurrency=4), 0.0)
    assert seconds_until(scaler, 2, running=3) == MINUTE
    assert seconds_until(scaler, 3, running=6) == MINUTE


def test_below_the_threshold_none_comes_and_one_goes_after_half_an_hour() -> None:
    scaler = Scaler(Rules(maximum=3, concurrency=4), 0.0)
    with pytest.raises(AssertionError, match="1 after"):
        seconds_until(scaler, 2, running=2)
    seconds_until(scaler, 2, running=4)
    assert seconds_until(scaler, 1, running=5) == 30 * MINUTE


def test_a_moment_without_calls_does_not_begin_the_minute_anew_and_a_pause_does() -> None:
    scaler = Scaler(Rules(maximum=2), 0.0)
    scaler.step(0, running=1, replicas=1)
    scaler.step(30, running=0, replicas=1)
    scaler.step(30.5, running=1, replicas=1)
    assert scaler.step(60, running=1, replicas=1) == 2
    scaler = Scaler(Rules(maximum=2), 0.0)
    scaler.step(0, running=1, replicas=1)
    scaler.step(30, running=0, replicas=1)
    scaler.step(35, running=1, replicas=1)
    assert scaler.step(99, running=1, replicas=1) == 1
    assert scaler.step(100, running=1, replicas=1) == 2


def test_zero_comes_after_half_an_hour_without_calls_and_ends_with_the_first() -> None:
    scaler = Scaler(Rules(minimum=0, maximum=2, concurrency=10), 0.0)
    assert scaler.wished == 1
    # One call in ten places is hardly a load, but it is an active request.
    scaler.step(0, running=1, replicas=1)
    assert scaler.step(31 * MINUTE, running=1, replicas=1) == 1
    assert scaler.step(32 * MINUTE, running=0, replicas=1) == 1
    assert scaler.step(33 * MINUTE, running=0, replicas=1) == 0
    assert scaler.step(40 * MINUTE, running=0, replicas=0, queued=1) == 1


def test_the_bounds_are_kept() -> None:
    scaler = Scaler(Rules(minimum=1, maximum=1), 0.0)
    assert scaler.step(HOUR, running=1, replicas=1) == 1
    assert scaler.step(10 * HOUR, running=0, replicas=1) == 1


def test_the_override_holds_in_its_hours_in_its_time_zone() -> None:
    rules = Rules(minimum=0, maximum=2, override=Override.parse(OFFICE))
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 11, 27, 7, 59, tzinfo=berlin).timestamp()
    scaler = Scaler(rules, friday)
    assert scaler.step(friday + 59, running=0, replicas=1) == 1
    assert scaler.step(friday + MINUTE, running=0, replicas=1) == 2
    assert (scaler.minimum, scaler.maximum) == (2, 6)
    evening = friday + 10 * HOUR
    assert scaler.step(evening, running=5, replicas=5) == 2
    scaler.wished = 5
    assert scaler.step(evening + MINUTE, running=5, replicas=5) == 2
    assert (scaler.minimum, scaler.maximum) == (0, 2)
    assert rules.bounds(friday + 24 * HOUR + MINUTE) == (0, 2)


def test_an_override_over_midnight_ends_on_the_next_day() -> None:
    night = Override.parse("sun 22:00-06:00 UTC 1-1")
    monday = datetime(2026, 11, 30, tzinfo=ZoneInfo("UTC")).timestamp()
    assert [night.active(monday + hour * HOUR) for hour in (-3, -2, 5, 6, 22)] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_an_override_is_read_back_as_it_is_written() -> None:
    written = str(Override.parse(OFFICE))
    assert written == "mon-fri 08:00-18:00 Europe/Berlin 2-6"
    assert Override.parse(written) == Override.parse(OFFICE)
    assert sorted(Override.parse("sat-mon 00:00-00:00 UTC 1-2").days) == [
        0, 5, 6,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("weekdays", "it has another form"),
        ("mon-fun 08:00-18:00 UTC 1-2", "mon-fun are no days"),
        ("mon 08:00-25:00 UTC 1-2", "hours go from 00:00 to 23:59"),
        ("mon 08:00-18:00 Mars/Base 1-2", "there is no time zone Mars/Base here"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CmError) as caught:
        Override.parse(text)
    assert caught.value.what == f'The schedule "{text}" cannot be read: {reason}'


def test_rules_that_foundry_would_refuse_are_refused() -> None:
    with pytest.raises(CmError, match="3, is not between 0 and the maximum, 2"):
        Rules(minimum=3, maximum=2)
    with pytest.raises(CmError, match="for scaling down is not the higher one"):
        Rules(up_threshold=0.5)
    with pytest.raises(CmError, match="scaling up is at most as long"):
        Rules(down_seconds=30)


def test_the_replica_with_the_fewest_calls_leaves_and_of_those_the_oldest() -> None:
    assert leaves_first([(1, 0.0), (0, 20.0), (0, 10.0)]) == 2
