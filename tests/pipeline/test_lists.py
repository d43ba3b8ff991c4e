"""Columns of lists: read, checked, written, and described to Foundry as arrays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from foundry_cm.local.pipeline.pipeline import LocalPipeline
from foundry_cm.testing import CallFailed, Pipeline
from tests.conftest import Render

pytestmark = pytest.mark.slow

FIELDS = "{id: int, tags: list[str], vector: list[float], flags: list[bool]}"
RECORD = {"id": 1, "tags": ["a", "é"], "vector": [0.5, 1.0], "flags": [True]}
EMPTY = {"id": 2, "tags": [], "vector": [], "flags": []}


@pytest.fixture(scope="module")
def folder(render: Render) -> Path:
    """A module that passes lists on; tests must not change it."""
    return render(execution_mode="pipeline", payload_fields=FIELDS, result_fields=FIELDS)


@pytest.fixture
def make(render: Render, tmp_path: Path) -> Callable[..., Pipeline]:
    """A module of the same kind, with some text of a file in src/ replaced, and without inputs."""

    def made(name: str, before: str, after: str) -> Pipeline:
        folder = render(
            tmp_path / "module",
            execution_mode="pipeline",
            payload_fields=FIELDS,
            result_fields=FIELDS,
        )
        file = folder / "src" / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        return Pipeline(folder, tmp_path)

    return made


@pytest.fixture
def pipeline(folder: Path, tmp_path: Path) -> Pipeline:
    """The module with one record as JSON and one as Parquet."""
    made = Pipeline(folder, tmp_path)
    made.put("input", "a.jsonl", json.dumps(RECORD) + "\n")
    types = {
        "tags": pa.large_list(pa.string()),
        "vector": pa.list_(pa.float32()),
        "flags": pa.list_(pa.bool_()),
    }
    columns = {name: pa.array([EMPTY[name]], kind) for name, kind in types.items()}
    parquet.write_table(pa.table({"id": [2], **columns}), tmp_path / "b.parquet")
    made.put("input", "b.parquet", (tmp_path / "b.parquet").read_bytes())
    return made


def by_id(pipeline: Pipeline) -> list[dict[str, Any]]:
    return sorted(pipeline.rows("output"), key=lambda row: row["id"])


def test_lists_of_every_type_go_through_as_parquet(pipeline: Pipeline) -> None:
    run = pipeline.run()
    assert (run.read["input"], run.written) == (2, {"output": 2, "output-errors": 0})
    assert by_id(pipeline) == [RECORD, EMPTY]
    for path in (pipeline.root / "outputs/output").glob("*.parquet"):
        assert parquet.read_schema(path).field("vector").type.value_type == pa.float64()


def test_lists_are_written_as_json_lines_on_request(make: Callable[..., Pipeline]) -> None:
    pipeline = make("resources.json", '"parquet"', '"jsonl"')
    pipeline.put("input", "a.jsonl", json.dumps(RECORD) + "\n")
    pipeline.run()
    assert by_id(pipeline) == [RECORD]


def test_a_new_dataset_of_lists_opens_as_a_table_with_arrays(pipeline: Pipeline) -> None:
    async def schema() -> Any:
        async with LocalPipeline(pipeline.settings()) as running:
            await running.idle()
            [rid] = [each.rid for each in running.resources if each.alias == "output"]
            return running.registry.dataset(rid).schema

    fields = {field["name"]: field for field in asyncio.run(schema())["fieldSchemaList"]}
    assert fields["id"]["type"] == "LONG"
    kinds = {name: field["arraySubtype"]["type"] for name, field in fields.items() if name != "id"}
    assert kinds == {"tags": "STRING", "vector": "DOUBLE", "flags": "BOOLEAN"}


@pytest.mark.parametrize("value", ["abc", None, ["a", None], [["a"]], 1], ids=str)
def test_a_value_that_is_no_such_list_goes_to_the_errors(pipeline: Pipeline, value: Any) -> None:
    pipeline.put("input", "c.jsonl", json.dumps(RECORD | {"tags": value}) + "\n")
    run = pipeline.run()
    assert run.written == {"output": 2, "output-errors": 1}
    [refused] = pipeline.rows("output-errors")
    assert 'column "tags" should be list[str]' in refused["reason"]
    assert refused["origin"] == "c.jsonl, row 1"


def test_csv_holds_no_lists(pipeline: Pipeline, make: Callable[..., Pipeline]) -> None:
    pipeline.put("input", "c.csv", "id,tags,vector,flags\n1,a,0.5,true\n")
    told = 'c.csv: column "tags" is list[str], and csv holds no lists; use parquet or jsonl'
    with pytest.raises(CallFailed) as failed:
        pipeline.run()
    assert f"SchemaError: {told}" in str(failed.value)
    told = 'output_format is "csv", which holds no lists such as "tags"; use parquet or jsonl'
    with pytest.raises(CallFailed) as failed:
        make("resources.json", '"parquet"', '"csv"').run()
    assert f"SchemaError: {told}" in str(failed.value)


def test_a_result_with_an_empty_item_goes_to_the_errors(make: Callable[..., Pipeline]) -> None:
    tags = '[[None] if number == 7 else ["a"] for number in batch["id"].to_pylist()]'
    pipeline = make("app.py", 'batch["tags"]', tags)
    lines = [json.dumps(RECORD | {"id": number}) for number in range(9)]
    pipeline.put("input", "a.jsonl", "\n".join(lines) + "\n")
    assert pipeline.run().written == {"output": 8, "output-errors": 1}
    [refused] = pipeline.rows("output-errors")
    assert 'the result has an empty value in column "tags"' in refused["reason"]
    assert refused["origin"] == "a.jsonl, row 8"


@pytest.mark.parametrize("kind", ["bytes", "dict", "list[bytes]", "list[list[int]]"])
def test_a_type_that_no_output_has_stops_the_module(
    make: Callable[..., Pipeline], kind: str
) -> None:
    pipeline = make("app.py", 'outputs."""\n\n    id: int', f'outputs."""\n\n    id: {kind}')
    with pytest.raises(CallFailed, match="SchemaError: OutputRecord.id: use str, int, float, bool"):
        pipeline.run()
