"""The messages of foundry-cm say values, not the names of variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.conftest import REPOSITORY

SPEAKS = {"CmError", "WeightsError", "TransientError", "Finding", "say"}
UNFILLED = re.compile(r"(?<!\$)\{[a-z_][\w.]*\}")


def said() -> Iterator[tuple[str, str]]:
    """Each text that a call prints or raises, with its place."""
    for file in sorted((REPOSITORY / "foundry_cm").rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in SPEAKS:
                for node in ast.walk(call):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield f"{file.relative_to(REPOSITORY)}:{node.lineno}", node.value


def test_every_value_of_a_message_is_filled_in() -> None:
    texts = list(said())
    assert len(texts) > 300
    assert [place for place, text in texts if UNFILLED.search(text)] == []
