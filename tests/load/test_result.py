"""The file of a result, what it says of two of them, and the search for the highest load."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import structs

from foundry_cm.errors import CmError
from foundry_cm.load.compare import compare, differences, ratio_bounds
from foundry_cm.load.machine import Gpus
from foundry_cm.load.result import ColdStart, Machine, Measurement, Result, Run, Setting, Times
from foundry_cm.load.search import highest_rate


def measured(sample: list[float], runs: list[float], rate: float | None = None) -> Measurement:
    """A measurement with this sample of times, whose runs had these throughputs."""
    times = Times.of(sample)
    return Measurement(
        arrivals="open" if rate else "closed",
        rate=rate,
        calls=times.count,
        throughput=sum(runs) / len(runs),
        latency=times,
        service=times,
        runs=tuple(
            Run(seconds=1, throughput=each, latency=Times.of([1 / each]), pace=1000)
            for each in runs
        ),
    )


def result(runs: list[float], pace: float = 1000) -> Result:
    """A result of one setting, whose runs had these throughputs."""
    closed = measured([0.1, 0.2], runs)
    starts = tuple(ColdStart(process=1 / each) for each in runs)
    return Result(
        foundry_cm="0",
        began="2026-11-28T12:00:00+00:00",
        module="m",
        command=("python",),
        machine=Machine(system="Linux", python="3.13", cores=2, memory=1),
        events=(),
        seed=1,
        settings=(Setting(replicas=1, concurrency=2, cold_starts=starts, closed=closed),),
    )


def test_percentiles_lie_between_the_neighbours_and_a_large_sample_is_kept_as_quantiles() -> None:
    times = Times.of(float(number) for number in range(101))
    assert (times.p50, times.p95, times.p99, times.longest) == (50, 95, 99, 100)
    large = Times.of(number / 10_000 for number in range(10_001))
    assert len(large.points) == 1000
    assert large.at(0.95) == pytest.approx(large.p95, abs=0.001)
    assert Times.of([]).at(0.5) == 0


def test_a_result_is_read_back_and_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    result([10, 11]).write(file)
    assert Result.read(file) == result([10, 11])
    file.write_text(file.read_text().replace('"version":1', '"version":2'))
    with pytest.raises(CmError, match="not a result of this version of cm bench: Invalid") as old:
        Result.read(file)
    assert (old.value.exit_code, old.value.where) == (2, str(file))
    with pytest.raises(CmError, match="cannot be read: No such file"):
        Result.read(tmp_path / "none.json")


def test_a_change_beyond_the_noise_is_told_with_its_bounds_and_noise_is_called_noise() -> None:
    before = [100.0, 101, 99, 100, 102]
    faster = compare(result(before), result([each * 1.3 for each in before]))
    assert [(each.figure, each.verdict) for each in faster] == [
        ("calls/s", "better"), ("p50", "better"), ("p95", "better"), ("start", "better"),
    ]  # fmt: skip
    same = compare(result(before), result([101.0, 99, 102, 100, 99]))
    assert {each.verdict for each in same} == {"same"}
    assert str(same[0]).startswith("no difference beyond the noise (-")
    few = compare(result(before), result([130.0, 131]))
    assert {str(each) for each in few} == {"too few runs to tell: --runs 5"}


def test_runs_that_do_not_differ_look_as_if_they_did_in_one_of_twenty_comparisons_at_most() -> None:
    chance = random.Random(1)
    alarms = 0
    for _ in range(100):
        one, other = ([chance.lognormvariate(0, 0.05) for _ in range(5)] for _ in range(2))
        bounds = ratio_bounds(one, other)
        assert bounds
        alarms += not bounds[0] <= 1 <= bounds[1]
    assert alarms <= 5


def test_what_else_differs_is_told() -> None:
    before, after = result([100, 100]), result([90, 90])
    assert differences(before, after) == []
    slower = Run(seconds=1, throughput=90, latency=Times.of([1]), pace=800)
    (setting,) = after.settings
    other = structs.replace(setting, closed=structs.replace(setting.closed, runs=(slower,)))
    told = differences(before, structs.replace(after, image="m:1", settings=(other,)))
    assert told == [
        "one ran in a container, and the other did not",
        "the machine itself was 20% slower, by a fixed piece of work before each start",
    ]


def test_the_highest_rate_that_keeps_the_target_is_found_and_confirmed() -> None:
    async def measure(rate: float, longer: bool) -> Measurement:
        asked.append((rate, longer))
        # A queue: its p95 grows without bounds towards 100 calls a second.
        return measured([0.02 / (1 - min(rate, 99.9) / 100)], [rate], rate)

    asked: list[tuple[float, bool]] = []
    # 0.02 / (1 - rate / 100) = 0.1 at 80 calls a second.
    found, seen = asyncio.run(highest_rate(measure, 100, 0.1))
    assert 75 <= found <= 80
    assert asked[-1] == (found, True)
    assert len(seen) == len(asked) <= 8
    assert asyncio.run(highest_rate(measure, 100, 0.001))[0] == 0


def test_gpu_memory_is_that_of_the_replica_that_has_most(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [
        SimpleNamespace(pid=1, usedGpuMemory=300), SimpleNamespace(pid=2, usedGpuMemory=500),
    ]  # fmt: skip
    used = iter([100, 900])
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda card: "H200",
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(used=next(used)),
        nvmlDeviceGetComputeRunningProcesses=lambda card: processes,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    gpus = Gpus()
    assert (gpus.name, gpus.memory([{1}, {2, 3}])) == ("H200", 500)
    # In a container the driver names processes that nobody here knows: the whole is shared out.
    processes.clear()
    assert gpus.memory([{7}, {8}]) == 400
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus().memory([{1}]) is None
