"""The search for the settings that a load needs."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice

from foundry_cm.load.plan import calls, minutes
from foundry_cm.load.plan.demand import MINUTE, Demand
from foundry_cm.load.plan.outcome import Outcome, Size
from foundry_cm.load.plan.service import Service
from foundry_cm.module.scaler import UP_THRESHOLD, Rules

# Above so many calls a minute, calls are simulated as amounts. A week of them takes seconds.
MOST_SINGLE_CALLS = 60.0
# No plan needs more replicas: a single deployment was never seen with as many.
MOST_REPLICAS = 500
# Settings whose costs differ by less are as good as equal: of them, the calmest is recommended.
NEARLY = 1.02
# How often the search goes on from the best settings so far, and how many are looked at call by call.
_ROUNDS, _LOOKS = 8, 5


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

    def nearest(self, concurrency: int) -> int:
        """Of the concurrency limits whose times are known, the one that is next to this."""
        return min(self.services, key=lambda each: (abs(each - concurrency), each))

    def service(self, rules: Rules) -> Service:
        """The times at a concurrency; of the nearest that is known where it is another."""
        return self.services[self.nearest(rules.concurrency)]


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
    found = _searched(question, progress)
    single = question.demand.calls / question.demand.seconds * MINUTE <= MOST_SINGLE_CALLS
    # By settings: one choice is often several of those that are shown.
    look = cache(partial(_one_by_one if single else _in_bulk, question))
    keeping = _by_price([each for each in found if each.keeps(question.target_p95)])
    enough = [each for each in found if each.keeps(math.inf)] or found
    cheapest = min(enough, key=lambda each: (each.paid, each.p95))
    quickest = min(enough, key=lambda each: (round(each.p95, 3), each.paid))
    others = (
        Choice("cheapest", look(cheapest.rules)),
        Choice("quickest", look(quickest.rules)),
        Choice("today", look(question.today)),
    )
    # A setting at the very edge of the target may miss it call by call: then it is the next one's turn.
    # And one of the others may keep it call by call that seemed to miss it.
    looked_at = (look(each.rules) for each in keeping[:_LOOKS])
    first = islice((each for each in looked_at if each.keeps(question.target_p95)), 1)
    known = [each.outcome for each in others if each.outcome.rules.concurrency in question.services]
    kept = [each for each in (*first, *known) if each.keeps(question.target_p95)]
    recommended = next(iter(_by_price(kept)), None)
    return Plan(question, recommended, others, single)


def _searched(question: Question, progress: Callable[[int, int], None]) -> list[Outcome]:
    """What each candidate does, and the settings beside the best so far, as long as one is better."""
    found: list[Outcome] = []
    seen: set[Rules] = set()
    waiting = list(dict.fromkeys(_candidates(question)))
    # Not forked: whoever plans may have threads.
    workers = min(len(waiting), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for _ in range(_ROUNDS):
            seen.update(waiting)
            for outcome in pool.map(partial(_in_bulk, question), waiting):
                found.append(outcome)
                progress(len(found), len(seen))
            keeping = [each for each in found if each.keeps(question.target_p95)]
            best = min(keeping, key=lambda each: each.paid, default=None)
            waiting = [each for each in _beside(best.rules) if each not in seen] if best else []
            if not waiting:
                break
    return found


def _by_price(outcomes: list[Outcome]) -> list[Outcome]:
    """The cheapest first; of those that cost nearly as little, the calmest."""
    least = min((each.paid for each in outcomes), default=0.0)

    def price(outcome: Outcome) -> tuple[float, ...]:
        if outcome.paid <= NEARLY * least:
            return least, round(outcome.starts_a_day), outcome.worst_hour
        return outcome.paid, outcome.starts_a_day, outcome.worst_hour

    return sorted(outcomes, key=price)


def _beside(rules: Rules) -> Iterator[Rules]:
    """The same settings with one of their numbers lowered, and with all replicas always there.

    The last may cost nearly nothing more, where the load hardly ever lets a replica go.
    """
    override = rules.override
    for maximum in _lowered(rules.maximum, 1):
        yield replace(
            rules,
            minimum=min(rules.minimum, maximum),
            maximum=maximum,
            override=override
            and replace(override, minimum=min(override.minimum, maximum), maximum=maximum),
        )
    for minimum in _lowered(rules.minimum, 0):
        yield replace(rules, minimum=minimum)
    if override:
        for minimum in _lowered(override.minimum, rules.minimum + 1):
            yield replace(rules, override=replace(override, minimum=minimum))
    else:
        yield replace(rules, minimum=rules.maximum)


def _lowered(number: int, least: int) -> list[int]:
    lower = {number - 1, number - math.ceil(number / 4), number // 2}
    return sorted(each for each in lower if least <= each < number)


def needed(question: Question, concurrency: int) -> int:
    """So many replicas stay just below the load at which Foundry adds another, at the peak."""
    running = question.demand.peak / MINUTE * question.services[concurrency].mean
    return min(MOST_REPLICAS, max(1, math.ceil(running / concurrency / UP_THRESHOLD)))


def _candidates(question: Question) -> Iterator[Rules]:
    """The settings that are simulated: from none that is always there to enough for the peak."""
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
        yield from plain
        yield from scheduled


def _in_bulk(question: Question, rules: Rules) -> Outcome:
    return minutes.simulate_in_bulk(
        rules, question.service(rules), question.cold_starts, question.demand, question.seed
    )


def _one_by_one(question: Question, rules: Rules) -> Outcome:
    return calls.simulate(
        rules, question.service(rules), question.cold_starts, question.demand, question.seed
    )
