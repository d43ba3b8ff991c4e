"""Calls that run at once share one pass of the model, and nothing else."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

CALLERS = 16


@pytest.fixture
def batching() -> ModuleType:
    (file,) = REPOSITORY.glob("template/src/cmkit/*functions*/*batching.py*")
    spec = importlib.util.spec_from_loader("batching", loader=None)
    assert spec
    module = importlib.util.module_from_spec(spec)
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), module.__dict__)
    return module


class Model:
    """Doubles numbers, each pass at the same cost; it remembers its passes and is not to be shared."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.alone = threading.Lock()
        self.may_run = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        assert self.alone.acquire(blocking=False), "two passes at once"
        try:
            self.passes.append(items)
            assert self.may_run.wait(30)
            if -1 in items:
                raise ValueError("no negative numbers")
            return [2 * item for item in items]
        finally:
            self.alone.release()


@contextmanager
def calls_at_once(
    model: Model, double: Callable[[list[int]], list[int]], calls: list[list[int]]
) -> Iterator[list[Callable[[], list[int]]]]:
    """The results of calls that all wait while the first one runs."""
    waiting = double._waiting  # type: ignore[attr-defined]
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(double, calls[0])]
        while not model.passes:
            time.sleep(0.001)
        for place, items in enumerate(calls[1:], 1):
            futures.append(pool.submit(double, items))
            while len(waiting) < place:
                time.sleep(0.001)
        model.may_run.set()
        yield [future.result for future in futures]


def test_calls_that_wait_share_the_next_pass_and_get_their_own_results(
    batching: ModuleType,
) -> None:
    model = Model()
    calls = [[caller, 100 + caller] for caller in range(CALLERS)]
    with calls_at_once(model, batching.batched(most=64)(model), calls) as results:
        assert [result() for result in results] == [[2 * item for item in call] for call in calls]
    assert model.passes == [calls[0], [item for call in calls[1:] for item in call]]


def test_a_pass_has_at_most_so_many_items_unless_one_call_has_more(batching: ModuleType) -> None:
    model = Model()
    calls = [[1], [2, 3], [4, 5], [6], [7, 8, 9, 10, 11], [12]]
    with calls_at_once(model, batching.batched(most=4)(model), calls) as results:
        assert [result() for result in results] == [[2 * item for item in call] for call in calls]
    assert model.passes == [[1], [2, 3, 4, 5], [6], [7, 8, 9, 10, 11], [12]]


def test_a_bad_item_costs_its_own_call_and_no_other(batching: ModuleType) -> None:
    model = Model()
    with calls_at_once(
        model, batching.batched(most=64)(model), [[0], [1], [-1, 2], [3]]
    ) as results:
        assert [results[place]() for place in (0, 1, 3)] == [[0], [2], [6]]
        with pytest.raises(ValueError, match="^no negative numbers$"):
            results[2]()


def test_who_calls_alone_never_waits_for_company(
    batching: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GATHER_SECONDS", 3600)
    model = Model()
    model.may_run.set()
    double = batching.batched(most=64)(model)
    assert [double([item]) for item in range(3)] == [[0], [2], [4]]
    assert double([]) == []


def test_a_pass_waits_for_those_who_were_there_a_moment_ago(
    batching: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GATHER_SECONDS", 3600)
    model = Model()
    double = batching.batched(most=64)(model)
    with calls_at_once(model, double, [[0], [1], [2], [3]]) as results:
        assert results[0]() == [0]
        assert double([4]) == [8]
        assert [result() for result in results[1:]] == [[2], [4], [6]]
    assert [len(items) for items in model.passes] == [1, 4]


def test_too_few_results_are_an_error_and_no_one_gets_another_callers(batching: ModuleType) -> None:
    @batching.batched(most=8)  # type: ignore[untyped-decorator]
    def first(items: list[int]) -> list[int]:
        return items[:1]

    with pytest.raises(ValueError, match=r"^first\(\) gave 1 results for 2 items$"):
        first([1, 2])
    assert first([3]) == [3]


class Ends(BaseException):
    """What is no `Exception`, as an interrupt is none."""


def test_a_model_that_ends_otherwise_gives_no_caller_an_empty_answer(batching: ModuleType) -> None:
    model = Model()

    def double(items: list[int]) -> list[int]:
        model(items)
        if 1 in items:
            raise Ends
        return items

    shared = batching.batched(most=64)(double)
    with calls_at_once(model, shared, [[0], [1], [2]]) as results:
        assert (results[0](), results[2]()) == ([0], [2])
        with pytest.raises(Ends):
            results[1]()
