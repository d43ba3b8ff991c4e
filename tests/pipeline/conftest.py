"""Rendered pipeline modules, and inputs for them that are large enough to be cut at any place."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.testing import Pipeline
from tests.conftest import Render

ROWS = 400
FIELDS = {"id": "int", "text": "str"}
# As the default one, but it takes whole rows, fails on one of them, and reads small blocks.
PROCESS = """
def process(batch: pa.Table) -> pa.Table:
    rows = batch.to_pylist()
    if any(row["text"] == "poison" for row in rows):
        raise ValueError("poison")
    return pa.Table.from_pylist([{"id": row["id"], "text": row["text"].upper()} for row in rows])
"""

MakePipeline = Callable[..., Pipeline]
Glue = Callable[[str], Any]


def replace_process(module: Path, process: str) -> None:
    """Put another process() into the app of a rendered module."""
    app = module / "src" / "app.py"
    text = app.read_text(encoding="utf-8")
    start, end = text.index("def process"), text.index("if __name__")
    app.write_text(text[:start] + process.lstrip() + "\n\n" + text[end:], encoding="utf-8")


@pytest.fixture(scope="session")
def module(render: Render) -> Callable[..., Path]:
    """Renders a pipeline module with the process above and small blocks; once for each shape."""
    made: dict[str, Path] = {}

    def make(**answers: Any) -> Path:
        key = repr(sorted(answers.items()))
        if key not in made:
            folder = render(
                execution_mode="pipeline", payload_fields=FIELDS, result_fields=FIELDS, **answers
            )
            replace_process(folder, PROCESS)
            formats = folder / "src/cmkit/pipelines/formats.py"
            blocks = formats.read_text(encoding="utf-8")
            assert "BLOCK_BYTES = 1 << 20" in blocks
            formats.write_text(blocks.replace("BLOCK_BYTES = 1 << 20", "BLOCK_BYTES = 1 << 9"))
            made[key] = folder
        return made[key]

    return make


@pytest.fixture
def pipeline(module: Callable[..., Path], tmp_path: Path) -> MakePipeline:
    """A pipeline with two files of rows, one of them poison, one malformed, and one that has no id."""

    def make(**answers: Any) -> Pipeline:
        made = Pipeline(module(**answers), tmp_path)
        kinds = answers.get("inputs", {"input": "dataset"})
        for alias, kind in kinds.items():
            if kind == "stream":
                lines = [f'{{"id": {number}, "text": "row {number}"}}\n' for number in range(ROWS)]
                lines[7] = '{"id": 7, "text": "poison"}\n'
                made.put(alias, "partition-0.jsonl", "".join(lines))
            else:
                lines = [f"{number},row {number}\n" for number in range(ROWS)]
                lines[7], lines[11], lines[13] = "7,poison\n", "x,row 11\n", "13,row 13,more\n"
                made.put(alias, "a.csv", "id,text\n" + "".join(lines))
                os.utime(made.root / "data" / alias / "a.csv", (1, 1))
                more = [
                    f'{{"id": {number}, "text": "row {number}"}}\n' for number in range(ROWS, 500)
                ]
                made.put(alias, "b.jsonl", "".join(more))
        return made

    return make


@pytest.fixture
def glue(module: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Glue:
    """Imports a module of cmkit, by its name in there, from where it was rendered."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cmkit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(module() / "src"))
    return lambda name: importlib.import_module(f"cmkit.{name}")


def texts(pipeline: Pipeline, alias: str = "output") -> list[str]:
    """The column `text` of an output, sorted; for a stream, each record key once."""
    rows = {row.get("record_key", number): row for number, row in enumerate(pipeline.rows(alias))}
    return sorted(row["text"] for row in rows.values())


def refused(pipeline: Pipeline, alias: str = "output-errors") -> list[tuple[str, str]]:
    """Reason and origin of the errors output, sorted."""
    return sorted((row["reason"], row["origin"]) for row in pipeline.rows(alias))
