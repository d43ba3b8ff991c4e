"""Whether two results are the same."""

from __future__ import annotations

from typing import Any

import pytest

from foundry_cm.module.compare import difference


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ([{"a": 0.5}], [{"a": 0.500001}], None),
        (0.0, 1e-9, None),
        (1.0, 1, None),
        (0.5, 0.6, "result is 0.6, and 0.5 here"),
        (100000000, 100000001, "result is 100000001, and 100000000 here"),
        ([1, 2], [2, 1], "result[0] is 2, and 1 here"),
        ([1], [1, 2], "result has 2 items, and 1 here"),
        ({"a": 1}, {"b": 1}, "result.a is missing"),
        ({}, {"b": {"c": 1}}, "result.b is there, and not here"),
        (True, 1, "result is 1, and true here"),
        (
            {"a": {"b": "x" * 80}},
            {"a": {"b": None}},
            f'result.a.b is null, and "{"x" * 56}... here',
        ),
    ],
)
def test_the_first_difference_is_named(mine: Any, theirs: Any, told: str | None) -> None:
    assert difference(mine, theirs, 1e-5) == told
