"""How deep a JSON value is nested: what is deeper than anybody means breaks what walks through it."""

from __future__ import annotations

from typing import Any

# Deeper than any event or result that a person means, and far from where Python gives up.
DEEPEST = 200


def is_too_deep(value: Any) -> bool:
    """Whether lists and records lie inside each other deeper than `DEEPEST`."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value
    return (
        [item for item in items if isinstance(item, (dict, list))]
        if isinstance(value, (dict, list))
        else []
    )
