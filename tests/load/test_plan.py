"""`cm plan`: the two simulations, the search, and what a person is told."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner

from foundry_cm.cli import app
from foundry_cm.errors import CmError
from foundry_cm.load.plan import calls, minutes
from foundry_cm.load.plan.demand import Demand, constant, from_csv, office
from foundry_cm.load.plan.outcome import HOUR, Outcome, Size
from foundry_cm.load.plan.search import Question, needed, plan
from foundry_cm.load.plan.service import Service
from foundry_cm.local.function.fleet import Count
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.function.settings import Scaling
from foundry_cm.module.scaler import Override, Rules
from tests import pace

OFFICE = Override.parse("mon-fri 08:00-18:00 Europe/Berlin 0-1")
BOTH = [calls.simulate, minutes.simulate_in_bulk]


def simulated(simulate: Any, rules: Rules, demand: Any, service: float = 1.0) -> Outcome:
    outcome: Outcome = simulate(rules, Service.typed(service, 2 * service), (20.0,), demand)
    return outcome


@pytest.mark.parametrize(
    ("service", "rules"),
    [
        (0.2, Rules(minimum=1, maximum=3)),
        (2.0, Rules(minimum=0, maximum=6)),
        (2.0, Rules(minimum=0, maximum=3, concurrency=2)),
        (30.0, Rules(minimum=40, maximum=60)),
    ],
    ids=str,
)
def test_calls_as_amounts_come_to_what_single_calls_do(
    service: float, rules: Rules, capsys: pytest.CaptureFixture[str]
) -> None:
    single, bulk = (simulated(each, rules, constant(60, 1), service) for each in BOTH)
    differences = [
        getattr(bulk, name) / getattr(single, name) - 1
        for name in ("calls", "p50", "p95", "replica_hours")
    ]
    with capsys.disabled():
        shown = "  ".join(f"{each:+.1%}" for each in differences)
        print(f"\n60 calls a minute of {service:g} s, as amounts: calls, p50, p95, hours {shown}")
    assert all(abs(each) < 0.12 for each in differences)


def test_calls_as_amounts_leave_pauses_in_which_the_last_replica_goes() -> None:
    """With quick calls there is often none, and of a long rare one nothing is left after a while."""
    for service, rate, rules in (
        (0.2, 60, Rules(minimum=0, maximum=1)),
        (30, 1 / 60, Rules(minimum=0, maximum=2)),
    ):
        single, bulk = (simulated(each, rules, constant(rate, 3), service) for each in BOTH)
        assert bulk.starts == pytest.approx(single.starts, rel=0.3)
        assert bulk.p50 == pytest.approx(single.p50, rel=0.1)


@pytest.mark.parametrize(
    ("inside", "rate", "places", "later"),
    [
        # Places of calls that take 20 s: those that fill, are full, are emptied, and are not there.
        (0, 1, 40, 20 * (1 - math.exp(-0.5))),
        (0, 4, 20, 20 + 3 * (10 - 20 * math.log(4 / 3))),
        (40, 0, 20, 30),
        (25, 0, 20, 20 * math.exp(-0.25)),
        (7, 1, 0, 17),
    ],
)
def test_an_amount_of_calls_comes_and_goes_with_the_time_that_each_takes(
    inside: float, rate: float, places: int, later: float
) -> None:
    assert minutes._later(inside, rate, places, 20) == pytest.approx(later)


@pytest.mark.parametrize("simulate", BOTH)
def test_after_a_pause_a_call_waits_for_the_start_of_a_replica(simulate: Any) -> None:
    rare = constant(1 / 120, 7)
    outcome = simulated(simulate, Rules(minimum=0, maximum=1), rare)
    assert 20 < outcome.p50 < 24
    always = simulated(simulate, Rules(minimum=1, maximum=1), rare)
    assert always.p95 < 3


@pytest.mark.parametrize("simulate", BOTH)
def test_what_is_paid_is_each_replica_from_its_start_by_the_published_formula(
    simulate: Any,
) -> None:
    outcome = simulated(simulate, Rules(minimum=2, maximum=2), constant(1, 2))
    assert outcome.replica_hours == pytest.approx(48, rel=0.01)
    # Two at the beginning, and each again after 22 and 44 hours.
    assert outcome.starts == 6
    day = 2 * 24 * HOUR
    assert outcome.compute_seconds(Size()) == pytest.approx(day * 0.2, rel=0.01)
    assert outcome.compute_seconds(Size(gib=15)) == pytest.approx(day * 2 * 0.2, rel=0.01)
    assert outcome.compute_seconds(Size(gpu="t4")) == pytest.approx(day * (0.2 + 1.2), rel=0.01)


@pytest.mark.parametrize("simulate", BOTH)
def test_more_calls_than_places_pile_up_and_are_not_called_kept(simulate: Any) -> None:
    outcome = simulated(simulate, Rules(minimum=1, maximum=1), constant(120, 1))
    assert outcome.waiting > 60 * 24 * 30
    assert not outcome.keeps(1e9)


def asked(demand: Demand, target: float, service: float = 0.2) -> Question:
    times = {1: Service.typed(service, 2 * service)}
    return Question(
        demand=demand,
        services=times,
        cold_starts=(20.0,),
        target_p95=target,
        size=Size(),
        today=Rules(),
    )


def test_the_plan_is_the_cheapest_that_keeps_the_target_and_uses_the_hours_of_the_load() -> None:
    found = plan(asked(office(50, OFFICE, 0.2, 1), target=5, service=2))
    assert found.recommended and found.recommended.p95 <= 5
    costs = {each.name: each.outcome.paid for each in found.others}
    waits = {each.name: each.outcome.p95 for each in found.others}
    assert costs["cheapest"] <= found.recommended.paid < costs["quickest"]
    assert waits["quickest"] <= found.recommended.p95 < waits["today"]
    assert found.recommended.rules.override


def test_a_plan_has_no_more_replicas_than_the_target_needs_nor_saves_nothing_by_starts() -> None:
    question = asked(constant(3000, 1), target=2)
    found = plan(question).recommended
    # Eleven calls run at a time on average, and Foundry would have 15 replicas for them.
    assert found and found.keeps(2) and needed(question, 1) == 15
    assert 10 < found.rules.minimum == found.rules.maximum < 15


# Half a second of the test is the scaler's minute, and a call takes 12 s of the scaler's time.
SCALE = pace.scale(most=120, start=60)
BUSY_MINUTES, MINUTES = 7, 32


async def served(settings: Settings) -> list[Count]:
    """How many replicas there are while a call comes every 5 s for some minutes, and then none."""
    async with LocalFoundry(settings) as foundry:
        running, began = [], time.monotonic()
        for number in range(BUSY_MINUTES * 12):
            # By the clock, so that a busy machine stretches no pause.
            await asyncio.sleep(max(0.0, began + number * 5 / SCALE - time.monotonic()))
            running.append(asyncio.create_task(foundry.call("wait", {"seconds": 12 / SCALE})))
        await asyncio.gather(*running)
        while foundry.fleet.counts[-1].present:
            await asyncio.sleep(0.05)
        return foundry.fleet.counts


def steps(counts: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Only the moments at which the number changes."""
    return [next(group) for _, group in groupby(counts, key=lambda count: count[1])]


def at(counts: list[tuple[float, int]], second: float) -> int:
    return next((there for since, there in reversed(counts) if since <= second), 0)


def test_the_simulated_replicas_are_those_of_cm_serve_autoscale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.py").write_text(pace.WAITS)
    rules = Rules(minimum=0, maximum=3, down_seconds=300)
    command = [sys.executable, "app.py"]
    scaling = Scaling(rules, SCALE)
    counts = asyncio.run(served(Settings(command=command, folder=tmp_path, scaling=scaling)))
    start = next(count.seconds for count in counts if count.ready)
    demand = Demand("", 0.0, (12.0,) * BUSY_MINUTES + (0.0,) * (MINUTES - BUSY_MINUTES))
    outcome = calls.simulate(rules, Service.typed(12.0), (start,), demand)
    real = steps((count.seconds, count.present) for count in counts)
    planned = steps((moment.time, moment.there) for moment in outcome.moments)
    assert [there for _, there in real] == [there for _, there in planned] == [1, 2, 3, 2, 1, 0]
    apart = [abs(at(real, second) - at(planned, second)) for second in range(0, MINUTES * 60, 10)]
    with capsys.disabled():
        print(f"\nreplicas, served and simulated: {fmean(apart):.2f} apart on average")
    assert fmean(apart) < 0.3


def test_a_file_of_calls_is_repeated_until_the_days_are_full(tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("minute,calls\n0,3\n1,5\n")
    demand = from_csv(file, days=1)
    assert (demand.rates[:3], len(demand.rates), demand.peak) == ((3, 5, 3), 1440, 5)


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("calls\n3\n-1\n", '"-1" is no number of calls in a minute', ":3"),
        ("calls\nmany\n", '"many" is no number of calls in a minute', ":2"),
        ("minute\n3\n", 'it has no column "calls"', ":1"),
        ("calls\n0\n", "it has no calls", ""),
    ],
)
def test_a_file_that_is_no_load_is_refused_with_its_line(
    tmp_path: Path, text: str, what: str, line: str
) -> None:
    file = tmp_path / "calls.csv"
    file.write_text(text)
    with pytest.raises(CmError) as refused:
        from_csv(file, days=1)
    assert refused.value.what == f"The load cannot be read: {what}"
    assert refused.value.where == f"{file}{line}"


def cm_plan(folder: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", "-C", str(folder), "--days", "1", *arguments])


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.foundry-cm]\nmin-replicas = 0\n")
    (tmp_path / ".copier-answers.yml").write_text("_commit: v1\n")
    return tmp_path


TYPED = ["--service", "200ms", "--cold-start", "20s"]


def test_a_person_gets_a_table_a_chart_and_the_line_that_takes_the_answers(module: Path) -> None:
    done = cm_plan(module, *TYPED, "--calls", "20", "--target-p95", "1s")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if " - " not in line]
    names = [
        row[0] for row in rows if row and row[0] in ("recommended", "cheapest", "quickest", "today")
    ]
    assert names == ["recommended", "cheapest", "quickest", "today"]
    # A replica that is away for a moment after each half an hour saves nearly nothing.
    assert (
        "next: copier update -d min_replicas=1 -d max_replicas=1 -d concurrency_limit=1"
        in done.stderr
    )
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert (module / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_each_plan_and_a_target_that_nothing_keeps_ends_with_1(module: Path) -> None:
    done = cm_plan(module, *TYPED, "--calls", "20", "--target-p95", "100ms", "--format", "json")
    plans = json.loads(done.stdout)["plans"]
    assert [each["name"] for each in plans] == ["cheapest", "quickest", "today"]
    assert not any(each["keeps_target"] for each in plans)
    assert isinstance(done.exception, CmError)
    assert done.exception.what == "Nothing keeps a p95 of 0.1 s under this load"
    assert done.exception.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--calls", "9", "--target-p95", "1s"], "The duration of a call is missing"),
        ([*TYPED, "--target-p95", "1s"], "The load is missing"),
        ([*TYPED, "--calls", "9"], "The latency target is missing"),
        (["--service", "1s", "--calls", "9"], "--service needs --cold-start as well"),
        ([*TYPED, "--calls", "9", "--hours", "always"], '--hours "always" cannot be read'),
        (
            [*TYPED, "--calls", "0.005", "--target-p95", "1s"],
            "The load comes to 7.2 calls in all: too few for a p95",
        ),
        ([*TYPED, "--bench", "b.json", "--calls", "9"], "Give --bench or --service, not both"),
    ],
)
def test_what_is_missing_is_said_with_what_to_give(
    module: Path, arguments: list[str], what: str
) -> None:
    done = cm_plan(module, *arguments)
    assert isinstance(done.exception, CmError)
    assert (done.exception.what, done.exception.exit_code) == (what, 2)


def test_a_time_without_its_unit_is_refused(module: Path) -> None:
    done = cm_plan(module, "--calls", "9", "--target-p95", "1")
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert '"1" is not a time; give it with its unit: 200ms or 1.5s' in said
