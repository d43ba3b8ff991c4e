"""When a pipeline has nothing left to do, as it is seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foundry_cm.local.pipeline import rest
from foundry_cm.local.pipeline.rest import Rest
from foundry_cm.local.platform import activity as activities
from foundry_cm.local.platform.activity import Activity


class Clock:
    """A time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (rest, activities):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The processor time of the module, as the last item."""
    seconds = [0.0]
    monkeypatch.setattr(rest, "_cpu_seconds", lambda _: seconds[-1])
    return seconds


def of(**options: Any) -> tuple[Activity, Rest]:
    activity = Activity(last_news=1000.0, last_change=1000.0, last_call=1000.0)
    return activity, Rest(activity, ["input"], **options)


def look(activity: Activity, clock: Clock, seconds: float = 1.0) -> None:
    """A module sleeps, then reads its file again."""
    clock.sleep(seconds)
    activity.read("input", Path("a.csv"), "1")


def test_a_module_rests_when_it_reads_nothing_new_for_a_while(
    clock: Clock, used: list[float]
) -> None:
    activity, module = of(paced=False)
    look(activity, clock)
    reached = []
    for _ in range(7):
        reached.append(module.reached(None))
        look(activity, clock)
    assert reached == [False] * 5 + [True] * 2


def test_calls_without_a_pause_are_no_rest(clock: Clock, used: list[float]) -> None:
    activity, module = of(paced=False)
    for _ in range(9):
        look(activity, clock, 0.01)
        module.reached(None)
    clock.sleep(60)
    assert not module.reached(None)


def test_a_module_that_computes_does_not_rest(clock: Clock, used: list[float]) -> None:
    activity, module = of(paced=False)
    for _ in range(9):
        used.append(used[-1] + 0.9)
        look(activity, clock)
        assert not module.reached(None)


def test_what_is_written_or_read_for_the_first_time_begins_the_wait_again(
    clock: Clock, used: list[float]
) -> None:
    activity, module = of(paced=False)
    for number in range(20):
        if number % 2:
            activity.wrote("output")
        else:
            activity.read("input", Path("a.csv"), f"new {number}")
        for _ in range(3):
            look(activity, clock)
            assert not module.reached(None)


def test_a_module_that_never_sleeps_rests_all_the_same(clock: Clock, used: list[float]) -> None:
    activity, module = of(paced=False)
    for _ in range(600):
        clock.sleep(0.01)
        activity.listed("input")
        used.append(used[-1] + 0.01)
        found = module.reached(None)
    assert found


def test_the_loop_of_the_template_rests_after_two_polls(clock: Clock) -> None:
    activity, module = of(paced=True)
    activity.listed("input")
    activity.read("input", Path("a.csv"), "1")
    activity.listed("input")
    assert not module.reached(None)
    activity.listed("input")
    assert module.reached(None)


def test_records_that_are_handed_out_again_are_no_news(clock: Clock) -> None:
    activity = Activity()
    for start, stop, news in ((0, 3, True), (0, 3, False), (2, 5, True), (5, 5, False)):
        clock.sleep(1)
        activity.read_records("events", "0", start, stop)
        assert (activity.last_news == clock.now) == news
    assert activity.records("events") == 5
