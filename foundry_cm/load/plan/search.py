"""The search for the settings that a load needs."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from foundry_cm.load.plan import calls, minutes
from foundry_cm.load.plan.demand import MINUTE, Demand
from foundry_cm.load.plan.outcome import Outcome, Size
from foundry_cm.load.plan.service import Service
from foundry_cm.module.scaler import UP_THRESHOLD, Rules

# Above so many calls a minute, calls are simulated as amounts. A week of them takes seconds.
MOST_SINGLE_CALLS = 60.0
# No plan needs more replicas: a single deployment was never seen with as many.
MOST_REPLICAS = 500


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be planned."""

    demand: Demand
    # How long calls take, by concurrency limit: those that may be chosen.
    services: dict[int, Service]
    # Seconds from the start of a replica until it takes calls, as often as they were seen.
    cold_starts: tuple[float, ...]
    target_p95: float
    size: Size
    today: Rules
    seed: int = 1


@dataclass(frozen=True)
class Choice:
    """One deployment, and why it is shown."""

    name: str
    outcome: Outcome


@dataclass(frozen=True)
class Plan:
    """What came of a question: the recommended settings, and others beside them."""

    question: Question
    # None where nothing keeps the target.
    recommended: Outcome | None
    others: tuple[Choice, ...]
    # Whether its calls were simulated one by one.
    single: bool


def plan(question: Question, progress: Callable[[int, int], None] = lambda done, all: None) -> Plan:
    """Simulate all settings that may fit, and choose; `progress` gets how many are done of how many."""
    candidates = list(_candidates(question))
    found = []
    # Not forked: whoever plans may have threads.
    workers = min(len(candidates), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for outcome in pool.map(partial(_in_bulk, question), candidates):
            found.append(outcome)
            progress(len(found), len(candidates))
    single = question.demand.calls / question.demand.seconds * MINUTE <= MOST_SINGLE_CALLS
    look = _one_by_one if single else _in_bulk

    def price(outcome: Outcome) -> tuple[float, float]:
        return outcome.paid, outcome.p95

    # A setting at the very edge of the target may miss it call by call: then it is the next one's turn.
    keeping = sorted((each for each in found if each.keeps(question.target_p95)), key=price)
    looked_at = (look(question, each.rules) for each in keeping[:5])
    recommended = next((each for each in looked_at if each.keeps(question.target_p95)), None)
    enough = [each for each in found if each.keeps(math.inf)] or found
    cheapest = min(enough, key=price)
    quickest = min(enough, key=lambda each: (round(each.p95, 3), each.paid))
    others = (
        Choice("cheapest", look(question, cheapest.rules)),
        Choice("quickest", look(question, quickest.rules)),
        Choice("today", look(question, question.today)),
    )
    return Plan(question, recommended, others, single)


def needed(question: Question, concurrency: int) -> int:
    """So many replicas stay just below the load at which Foundry adds another, at the peak."""
    running = question.demand.peak / MINUTE * question.services[concurrency].mean
    return min(MOST_REPLICAS, max(1, math.ceil(running / concurrency / UP_THRESHOLD)))


def _candidates(question: Question) -> Iterator[Rules]:
    """The settings that are simulated: from none that is always there to enough for the peak."""
    seen = set[Rules]()
    for concurrency in sorted(question.services):
        most = needed(question, concurrency)
        half, hours = math.ceil(most / 2), question.demand.hours
        plain = [
            Rules(minimum=minimum, maximum=maximum, concurrency=concurrency)
            for maximum in (most, most + 1, min(2 * most, MOST_REPLICAS))
            for minimum in (0, 1, half, most, most + 1)
            if minimum <= maximum
        ]
        scheduled = [
            replace(rules, override=replace(hours, minimum=minimum, maximum=rules.maximum))
            for rules in plain
            for minimum in (half, most, most + 1)
            if hours and rules.minimum < min(2, minimum) and minimum <= rules.maximum
        ]
        for rules in (*plain, *scheduled):
            if rules not in seen:
                seen.add(rules)
                yield rules


def _service(question: Question, rules: Rules) -> Service:
    """The times at a concurrency; of the nearest that is known where it is another."""
    nearest = min(question.services, key=lambda each: (abs(each - rules.concurrency), each))
    return question.services[nearest]


def _in_bulk(question: Question, rules: Rules) -> Outcome:
    return minutes.simulate_in_bulk(
        rules, _service(question, rules), question.cold_starts, question.demand, question.seed
    )


def _one_by_one(question: Question, rules: Rules) -> Outcome:
    return calls.simulate(
        rules, _service(question, rules), question.cold_starts, question.demand, question.seed
    )
