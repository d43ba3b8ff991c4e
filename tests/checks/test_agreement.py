"""Where the check calls a type right, a real call agrees: what goes in comes out as it went in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.checks import run
from foundry_cm.checks.shown import good
from foundry_cm.testing import CallFailed, Foundry
from tests.conftest import LINUX

pytestmark = [pytest.mark.slow, LINUX]

# For each type a value as JSON has it, and the type of what reaches the handler.
VALUES: dict[str, tuple[Any, str]] = {
    "str": ("a", "str"),
    "int": (7, "int"),
    "float": (0.5, "float"),
    "bool": (True, "bool"),
    "Long": (7, "int"),
    "list[str]": (["a"], "list"),
    "list[Point]": ([{"x": 0.5}], "list"),
    "Point": ({"x": 0.5}, "Point"),
    "date": ("2026-01-31", "date"),
    "datetime": ("2026-01-31T12:00:00Z", "datetime"),
    "dict[str, float]": ({"a": 0.5}, "dict"),
    "Ticket": ({"code": "a"}, "Ticket"),
    "str | None": ("a", "str"),
    "list[float] | None": ([0.5], "list"),
    "Point | None": ({"x": 0.5}, "Point"),
    "datetime | None": ("2026-01-31T12:00:00Z", "datetime"),
    "bytes": ("YQ==", "bytes"),
    "Decimal": ("1.5", "Decimal"),
    "set[int]": ([1], "set"),
}
BODY = """
@dataclass
class Point:
    x: float


class Ticket(TypedDict):
    code: str

"""
EACH = """
@dataclass
class In{n}:
    value: {kind}


@function
def reaches_{n}(context, event: In{n}) -> str:
    return type(event.value).__name__


@function
def returns_{n}(context, event: In{n}) -> {kind}:
    return event.value

"""
IMPORTS = "from datetime import date, datetime\nfrom decimal import Decimal\nfrom typing import TypedDict\n\nfrom compute_modules.function_registry.types import Long\n"  # fmt: skip


def test_what_the_checks_say_of_a_type_is_what_a_call_shows(tmp_path: Path) -> None:
    body = BODY + "".join(EACH.format(n=n, kind=kind) for n, kind in enumerate(VALUES))
    files = good(body, imports=IMPORTS)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text(files["src/app.py"])
    lines = files["src/app.py"].splitlines()
    found = {lines[each.line - 1].strip() for each in run(tmp_path) if each.severity == "error"}
    said, shown = {}, {}
    with Foundry(tmp_path, [sys.executable, "src/app.py"]) as foundry:
        for n, (kind, (value, name)) in enumerate(VALUES.items()):
            # A TypedDict is a dict when the module runs.
            wanted = "dict" if kind == "Ticket" else name
            came = foundry.call(f"reaches_{n}", {"value": value}) == wanted
            # What the SDK does not decode comes as it was sent, of the type that was asked for.
            said[f"{kind} in"] = f"value: {kind}" not in found
            shown[f"{kind} in"] = came and kind != "bytes"
            try:
                returned = foundry.call(f"returns_{n}", {"value": value}) == value
            except CallFailed:
                returned = False
            said[f"{kind} out"] = f"def returns_{n}(context, event: In{n}) -> {kind}:" not in found
            shown[f"{kind} out"] = returned
    assert said == shown
