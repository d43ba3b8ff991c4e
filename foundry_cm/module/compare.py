"""Whether two results are the same, with a tolerance for numbers that a computer may round otherwise."""

from __future__ import annotations

import json
import math
from typing import Any

_SHOWN = 60


def difference(mine: Any, theirs: Any, tolerance: float, place: str = "result") -> str | None:
    """The first place at which two JSON values differ, and how; None where they are the same.

    Two numbers of which one has a fraction may differ by the tolerance, relative to the larger and at
    least absolute. Everything else is equal or differs, lists in their order.
    """
    if _is_number(mine) and _is_number(theirs):
        exact = isinstance(mine, int) and isinstance(theirs, int)
        close = math.isclose(mine, theirs, rel_tol=tolerance, abs_tol=tolerance)
        return None if mine == theirs or (close and not exact) else _differ(mine, theirs, place)
    if isinstance(mine, list) and isinstance(theirs, list):
        if len(mine) != len(theirs):
            return f"{place} has {len(theirs)} items, and {len(mine)} here"
        pairs = zip(mine, theirs, strict=True)
        found = (
            difference(one, other, tolerance, f"{place}[{number}]")
            for number, (one, other) in enumerate(pairs)
        )
        return next(filter(None, found), None)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        if odd := sorted(mine.keys() ^ theirs.keys()):
            return f"{place}.{odd[0]} is {'missing' if odd[0] in mine else 'there, and not here'}"
        found = (
            difference(mine[name], theirs[name], tolerance, f"{place}.{name}") for name in mine
        )
        return next(filter(None, found), None)
    same = type(mine) is type(theirs) and mine == theirs
    return None if same else _differ(mine, theirs, place)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differ(mine: Any, theirs: Any, place: str) -> str:
    return f"{place} is {_shown(theirs)}, and {_shown(mine)} here"


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a record"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
