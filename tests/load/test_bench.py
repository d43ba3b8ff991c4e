"""`cm bench` on real modules: what it measures, finds and says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from foundry_cm.cli import app as cm
from foundry_cm.errors import CmError
from foundry_cm.load import drive
from foundry_cm.load.calls import Given
from foundry_cm.load.drive import Call, Mix, Span
from foundry_cm.load.result import Result as Measured
from foundry_cm.local.function.foundry import LocalFoundry, Settings

MODULE = """
import logging, os, time
from dataclasses import dataclass
from compute_modules import ConcurrencyType, start_compute_module
from compute_modules.annotations import function

@dataclass
class Payload:
    text: str

calls = 0

@function
def echo(context, event: Payload) -> str:
    global calls
    calls += 1
    if event.text == "bad" or event.text == "some" and calls % 2 == 0:
        raise ValueError("a bad text")
    if event.text == "end":
        os._exit(3)
    return event.text

@function
def stall(context, event: Payload) -> str:
    global calls
    calls += 1
    time.sleep(0.6 if calls == 5 else 0)
    return event.text

if __name__ == "__main__":
    print("12:00:00 INFO cmkit: Cold start: import 0.10 s, load 0.02 s, warm-up 0.01 s, ready 0.13 s")
    start_compute_module(ConcurrencyType.THREAD_POOL)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "events").mkdir()
    (tmp_path / "src/app.py").write_text(MODULE)
    for text in ("good", "bad", "some", "end"):
        (tmp_path / f"events/{text}.json").write_text(json.dumps({"text": text}))
    return tmp_path


@pytest.fixture
def bench(module: Path) -> Callable[..., Result]:
    """Run `cm bench` on the module, briefly."""

    def run(*words: str) -> Result:
        brief = ("--seconds", "0.2", "--runs", "2", "--replicas", "1", "--concurrency", "1,4")
        return CliRunner().invoke(cm, ["bench", "-C", str(module), *brief, *words])

    return run


def event(module: Path, text: str, weight: str = "") -> str:
    return f"echo={module}/events/{text}.json{weight}"


def test_a_module_is_measured_at_each_setting_and_compared_with_itself(
    module: Path, bench: Callable[..., Result]
) -> None:
    done = bench("--event", event(module, "good", "@3"), "--target-p95", "5s", "--timeout", "20")
    assert done.exit_code == 0, done.output
    assert "p95 within 5.00 s up to" in done.output
    assert "next: cm plan --calls 60" in done.stderr
    assert (module / "bench.png").read_bytes().startswith(b"\x89PNG")
    found = Measured.read(module / "bench.json")
    assert [setting.name for setting in found.settings] == ["1 x 1", "1 x 4"]
    assert (found.events[0].function, found.events[0].weight) == ("echo", 3)
    best = found.best
    assert best and best.highest_rate
    for setting in found.settings:
        closed = setting.closed
        assert closed.calls == closed.service.count >= 40 and closed.errors == 0
        assert len(closed.runs) == 2 and min(run.pace for run in closed.runs) > 0
        assert closed.callers == setting.concurrency
        start = setting.cold_starts[0]
        assert (start.importing, start.load, start.warm_up) == (0.10, 0.02, 0.01)
        assert start.process > 0 and start.first_call is not None
        if sys.platform == "linux":
            assert (closed.memory or 0) > 10e6 and (closed.cores or 0) > 0
    (module / "bench.json").rename(module / "before.json")
    again = bench("--event", event(module, "good", "@3"), "--against", str(module / "before.json"))
    assert again.exit_code == 0
    assert "too few runs to tell: --runs 5" in " ".join(again.output.split())


def test_errors_are_counted_and_fail_the_run(module: Path, bench: Callable[..., Result]) -> None:
    # The first call of each event has to succeed: one that never does is a mistake, and no load.
    never = bench("--event", event(module, "bad"))
    assert isinstance(never.exception, CmError)
    assert never.exception.what == "With 1 replica and concurrency 1: ValueError: a bad text"
    died = bench("--event", event(module, "end"))
    assert isinstance(died.exception, CmError) and died.exception.exit_code == 1
    setting = "With 1 replica and concurrency 1: "
    assert died.exception.what.startswith(f"{setting}The module exited with code 3")
    assert not (module / "bench.json").exists()
    some = bench("--event", event(module, "some"), "--concurrency", "1", "--runs", "1")
    assert isinstance(some.exception, CmError)
    assert some.exception.as_json() == {
        "code": "CallsFailed", "message": "Calls failed under load",
        "fix": "The table says how many.",
    }  # fmt: skip
    assert "x ValueError: a bad text" in some.stderr
    kinds = Measured.read(module / "bench.json").settings[0].closed.kinds
    assert kinds["ValueError: a bad text"] >= 10


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--replicas", "0,1"], '--replicas "0,1" is not a list of numbers from 1 to 64'),
        (["--event", "events/x.json@0"], '--event "events/x.json@0": a weight is a number above 0'),
        (["--event", "none.json"], "The event cannot be read: No such file or directory"),
        (["--against", "none.json"], "The result cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    bench: Callable[..., Result], words: list[str], what: str
) -> None:
    failed = bench(*words)
    assert isinstance(failed.exception, CmError)
    assert (failed.exception.what, failed.exception.exit_code) == (what, 2)


def test_a_target_without_a_unit_is_refused(bench: Callable[..., Result]) -> None:
    refused = bench("--target-p95", "200")
    assert refused.exit_code == 2
    assert '"200" is not a time' in " ".join(refused.stderr.split())


def test_without_matplotlib_a_line_says_how_to_get_the_chart(
    module: Path, bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = bench("--event", event(module, "good"), "--concurrency", "1", "--format", "json")
    assert "For a chart: pip install 'foundry-cm[bench]'" in done.stderr
    assert json.loads(done.stdout)["settings"][0]["closed"]["calls"] > 0
    assert not (module / "bench.png").exists()


def test_a_call_that_could_not_be_made_in_time_has_waited(module: Path) -> None:
    """Coordinated omission: a caller that waits for one slow answer makes no calls meanwhile."""
    given = Given.parse(f"stall={module}/events/good.json")
    calls = [Call(given.event, given.payload)]
    command = [sys.executable, "src/app.py"]

    async def slow(arrives: bool) -> int:
        async with LocalFoundry(Settings(command=command, folder=module)) as foundry:
            await foundry.ready()
            span, mix = Span(1.0), Mix(calls, seed=1)
            if arrives:
                record = await drive.arriving(foundry, mix, 50, span, most_waiting=60)
            else:
                record = await drive.closed(foundry, mix, 1, span)
        return sum(seconds > 0.1 for seconds in record.latencies)

    assert asyncio.run(slow(arrives=False)) <= 3
    assert asyncio.run(slow(arrives=True)) >= 10
