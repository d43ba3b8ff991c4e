"""The line in which a module logs its start."""

from __future__ import annotations

import json

import pytest

from foundry_cm.module.coldstart import ColdStart

LINE = "Cold start: import 3.21 s, weights 0.04 s, load 1.92 s, build an index 0.40 s, ready 5.57 s"
STEPS = {"import": 3.21, "weights": 0.04, "load": 1.92, "build an index": 0.4}


@pytest.mark.parametrize("before", ["", "2026-11-28 09:00:00,000 INFO cmkit.startup: "])
def test_the_seconds_of_each_step_are_read_from_the_line(before: str) -> None:
    assert ColdStart.parse(f"{before}{LINE}\r\n") == ColdStart(STEPS, 5.57)


def test_the_seconds_are_read_from_a_line_of_json_as_well() -> None:
    assert ColdStart.parse(json.dumps({"message": LINE, "level": "INFO"})) == ColdStart(STEPS, 5.57)
    assert ColdStart.parse('{"text": "Cold start: none"}') is None


@pytest.mark.parametrize(
    "line", ["Serving search", "Cold start: ", "Cold start: import 1 s", f"{LINE} or so", ""]
)
def test_another_line_says_nothing_of_the_start(line: str) -> None:
    assert ColdStart.parse(line) is None


def test_of_several_starts_in_a_log_the_last_one_counts() -> None:
    log = f"{LINE}\nServing search\nCold start: import 0.31 s, ready 0.31 s\nStopping on SIGTERM\n"
    assert ColdStart.last_in(log) == ColdStart({"import": 0.31}, 0.31)
    assert ColdStart.last_in("Serving search\n") is None
