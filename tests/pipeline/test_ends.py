"""What no row is to blame for ends the module: quickly, in one true message, and not with 0."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.pipeline.pipeline import LocalPipeline
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.testing import CallFailed, Pipeline
from tests.pipeline.conftest import refused, texts

pytestmark = pytest.mark.slow

Make = Callable[..., Pipeline]
GOOD, BAD = "id,text\n1,a\n2,b\n", "sku,price\nx,1\n"


@pytest.fixture
def make(module: Callable[..., Path], tmp_path: Path) -> Make:
    """A pipeline of its own, which tests may change, with some text of its app replaced."""

    def made(before: str = "", after: str = "", **answers: Any) -> Pipeline:
        folder = shutil.copytree(module(**answers), tmp_path / "module", dirs_exist_ok=True)
        edit(folder / "src/app.py", before, after)
        return Pipeline(folder, tmp_path / "root")

    return made


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def fails(pipeline: Pipeline, **options: Any) -> str:
    """Why a run fails."""
    with pytest.raises(CallFailed) as failed:
        pipeline.run(**options)
    return str(failed.value)


TWO = {"inputs": {"a": "dataset", "b": "dataset"}, "outputs": {"output": "stream"}}


def test_nothing_is_published_while_an_input_has_other_columns(make: Make) -> None:
    pipeline = make(**TWO)
    pipeline.put("a", "good.csv", GOOD)
    pipeline.put("b", "bad.csv", BAD)
    assert 'SchemaError: bad.csv has no column "id" (int); it has sku, price' in fails(pipeline)
    assert pipeline.rows("output") == []


def test_what_came_before_a_fault_is_published_once_at_however_many_starts(make: Make) -> None:
    pipeline = make(inputs={"a": "dataset"}, outputs={"output": "stream"})
    os.utime(pipeline.put("a", "good.csv", GOOD), (1, 1))
    bad = pipeline.put("a", "z.csv", BAD)
    for _ in range(2):
        assert "z.csv has no column" in fails(pipeline)
    bad.write_text("id,text\n3,c\n")
    pipeline.run()
    assert [row["text"] for row in pipeline.rows("output")] == ["A", "B", "C"]


CHANGES = [
    (
        "columns",
        'the output "output" has rows of another kind: "total" (float) is new, "id" (int) is gone',
    ),
    ("type", 'the output "output" has rows of another kind: "id" was int and is str'),
    (
        "format",
        'the output "output" has rows of another kind: its files are csv, and now would be jsonl',
    ),
    (
        "order",
        'the output "output" has rows of another kind: its columns are in the order id, text',
    ),
]
OUTPUT = 'class OutputRecord:\n    """A row of the outputs."""\n\n    id: int\n    text: str\n'


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[name for name, _ in CHANGES])
def test_rows_of_another_kind_never_join_the_old_ones(
    make: Make, change: str, message: str
) -> None:
    pipeline = make()
    pipeline.put("input", "a.csv", GOOD)
    pipeline.run()
    before = snapshot(pipeline.root / "outputs")
    now = {"columns": "total: float\n    text: str", "type": "id: str\n    text: str"}
    now["order"] = "text: str\n    id: int"
    if change == "format":
        edit(pipeline.folder / "src/resources.json", '"csv"', '"jsonl"')
    else:
        wanted = OUTPUT.replace("id: int\n    text: str", now[change])
        edit(pipeline.folder / "src/app.py", OUTPUT, wanted)
    pipeline.put("input", "b.csv", "id,text\n3,c\n")
    assert f"OutputChanged: {message}" in fails(pipeline)
    assert snapshot(pipeline.root / "outputs") == before


def snapshot(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*.*") if ".cm" not in path.parts}


def test_an_output_that_was_emptied_gets_everything_again_and_its_new_schema(make: Make) -> None:
    pipeline = make()
    edit(pipeline.folder / "src/resources.json", '"csv"', '"parquet"')
    pipeline.put("input", "a.csv", GOOD)
    pipeline.run()
    edit(pipeline.folder / "src/app.py", OUTPUT, OUTPUT + "    more: str\n")
    edit(pipeline.folder / "src/app.py", '"id": row["id"],', '"id": row["id"], "more": "x",')
    assert '"more" (str) is new' in fails(pipeline)

    async def empty_and_run() -> list[Any]:
        running = LocalPipeline(pipeline.settings())
        datasets = [
            running.registry.dataset(each.rid) for each in running.resources if each.writable
        ]
        for dataset in datasets:
            assert isinstance(dataset, OutputDataset)
            dataset.commit(dataset.open("master", "SNAPSHOT").rid)
        async with running:
            await running.idle()
        return [datasets[0].schema["fieldSchemaList"] if datasets[0].schema else []]

    [fields] = asyncio.run(empty_and_run())
    assert pipeline.rows("output") == [
        {"id": 1, "text": "A", "more": "x"},
        {"id": 2, "text": "B", "more": "x"},
    ]
    assert [field["name"] for field in fields] == ["id", "text", "more"]


def test_a_stream_that_would_refuse_every_record_is_said_before_the_first(make: Make) -> None:
    pipeline = make(outputs={"output": "stream"})
    pipeline.put("input", "a.csv", GOOD)

    async def run() -> None:
        running = LocalPipeline(pipeline.settings())
        [stream] = [each for each in running.resources if each.kind == "stream"]
        kinds = {"id": "string", "text": "string", "site": "string"}
        fields = [
            {"name": name, "schema": {"nullable": False, "dataType": {"type": kind}}}
            for name, kind in kinds.items()
        ]
        running.registry.stream(stream.rid, "master").create({"fields": fields}, 1, "LOW_LATENCY")
        async with running:
            await running.idle()

    with pytest.raises(CmError) as failed:
        asyncio.run(run())
    assert (
        'SchemaError: the stream "output" would refuse every record: it has no column "record_key" '
        '(str), its column "id" is string, not int, it wants a column "site", which OutputRecord '
        "lacks." in failed.value.what
    )
    assert refused(pipeline) == []


def test_changed_and_deleted_files_are_said_once(make: Make) -> None:
    pipeline = make()
    for name in ("a", "b", "c"):
        pipeline.put("input", f"{name}.csv", GOOD)
    pipeline.run()
    pipeline.put("input", "a.csv", "id,text\n5,e\n")
    (pipeline.root / "data/input/b.csv").unlink()
    pipeline.run()
    assert pipeline.output.count("Changed or gone since they were read: 2 files") == 1
    assert "such as input-a. A changed file is read again from its first row" in pipeline.output
    assert texts(pipeline) == sorted(["A", "B"] * 3 + ["E"])


BODY = "    rows = batch.to_pylist()\n"
FAULTS = {
    "a breakpoint": ("    breakpoint()\n", "NoTerminal: breakpoint() was reached, and this process has no"),
    "a column that is none": ('    batch["txt"]\n', "KeyError: 'Field \"txt\" does not exist"),
    "a wrong call": ("    len(1)\n", "TypeError: object of type 'int' has no len()"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_every_row_meets_is_no_bad_record(make: Make, fault: str) -> None:
    line, message = FAULTS[fault]
    pipeline = make(BODY, line + BODY)
    pipeline.put("input", "a.csv", "id,text\n1,a\n2,b\n3,c\n4,d\n")
    assert message in fails(pipeline)
    assert pipeline.rows("output") == pipeline.rows("output-errors") == []
    edit(pipeline.folder / "src/app.py", line + BODY, BODY)
    assert pipeline.run().written == {"output": 4, "output-errors": 0}


def test_a_key_that_each_row_lacks_in_its_own_words_is_of_the_rows(make: Make) -> None:
    pipeline = make(BODY, BODY + '    [{"A": 1}[row["text"]] for row in rows]\n')
    pipeline.put("input", "a.csv", "id,text\n1,x\n2,y\n3,z\n4,A\n")
    assert pipeline.run().written == {"output": 1, "output-errors": 3}


def test_a_bad_line_of_a_local_stream_ends_at_once_with_its_place(make: Make) -> None:
    pipeline = make(inputs={"events": "stream"})
    pipeline.put("events", "r.jsonl", '{"id": 1, "text": "a"}\nnot json\n')
    message = fails(pipeline, timeout=20)
    assert "MalformedRecord (message: r.jsonl, record 1: not a JSON object)" in message
    assert "Traceback" not in pipeline.output


def test_sigterm_is_heard_while_the_platform_is_waited_for(make: Make) -> None:
    pipeline = make()
    pipeline.put("input", "a.csv", GOOD)

    async def run() -> float:
        async with LocalPipeline(pipeline.settings(faults=["fail@upload"] * 12)) as running:
            while len(running.faults.struck) < 5:
                running.check()
                await asyncio.sleep(0.05)
            began = time.monotonic()
            await running.finish()
            return time.monotonic() - began

    assert asyncio.run(run()) < 3
    pipeline.run()
    assert texts(pipeline) == ["A", "B"]


def test_sigterm_is_heard_while_the_main_thread_holds_the_lock_of_what_it_sets(make: Make) -> None:
    held = """    import os, signal, time
    from cmkit.pipelines.ends import STOPPING
    with STOPPING._cond:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
"""
    pipeline = make(BODY, held + BODY)
    pipeline.put("input", "a.csv", GOOD)
    pipeline.run(timeout=20)
    assert texts(pipeline) == ["A", "B"]


PRICES = '"prices": "reference"'


@pytest.fixture
def looking_up(make: Make) -> Callable[[str], Pipeline]:
    """A pipeline that writes what a reference has for each row; the reference is read as given."""

    def made(read: str) -> Pipeline:
        pipeline = make(
            "def process",
            "@dataclass\nclass Price:\n    sku: str\n    amount: float\n\n\n"
            f"from cmkit import reference\nPRICES = {read}\n\n\ndef process",
        )
        edit(
            pipeline.folder / "src/resources.json",
            '"input": "dataset"',
            f'"input": "dataset", {PRICES}',
        )
        edit(
            pipeline.folder / "src/app.py", 'row["text"].upper()', '"p" + str(PRICES[row["text"]])'
        )
        pipeline.put("input", "a.csv", "id,text\n1,x\n2,y\n")
        return pipeline

    return made


TYPED = '{each.sku: each.amount for each in reference("prices", Price)}'
PLAIN = '{each["sku"]: each["amount"] for each in reference("prices")}'


def test_a_reference_is_read_whole_and_not_processed(
    looking_up: Callable[[str], Pipeline],
) -> None:
    pipeline = looking_up(TYPED)
    pipeline.put("prices", "a.csv", "sku,amount,note\nx,1,\n")
    pipeline.put("prices", "b.jsonl", '\ufeff{"sku": "y", "amount": 2.5}\n')
    run = pipeline.run()
    assert (run.read, run.written["output"]) == ({"input": 2}, 2)
    assert texts(pipeline) == ["p1.0", "p2.5"]
    edit(pipeline.folder / "src/app.py", TYPED, PLAIN)
    pipeline.put("input", "b.csv", "id,text\n3,x\n4,y\n")
    pipeline.run()
    assert texts(pipeline) == ["p1", "p1.0", "p2.5", "p2.5"]


WRONG = [
    (TYPED, "sku,amount\nx,1\ny,much\n", "a.csv, row 2: column \"amount\" should be float, is b'much'"),
    (TYPED, "sku\nx\n", 'a.csv has no column "amount" (float); it has sku'),
    (
        TYPED.replace("prices", "price"),
        "sku,amount\nx,1\n",
        'SettingsError: resources.json declares no input "price" of the kind "reference"; it declares prices',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("read", "content", "message"), WRONG, ids=["value", "column", "alias"])
def test_a_reference_that_is_not_whole_ends_the_module(
    looking_up: Callable[[str], Pipeline], read: str, content: str, message: str
) -> None:
    pipeline = looking_up(read)
    pipeline.put("prices", "a.csv", content)
    assert message in fails(pipeline)
    assert "Traceback" not in pipeline.output


def test_references_alone_are_no_pipeline(make: Make) -> None:
    pipeline = make()
    resources = pipeline.folder / "src/resources.json"
    told = json.loads(resources.read_text())
    resources.write_text(json.dumps(told | {"inputs": {"prices": "reference"}}))
    assert "no input is processed; give one of another kind" in fails(pipeline)


def test_a_key_that_resources_json_lacks_is_named(make: Make) -> None:
    pipeline = make()
    resources = pipeline.folder / "src/resources.json"
    told = json.loads(resources.read_text())
    del told["errors"], told["poll_seconds"]
    resources.write_text(json.dumps(told))
    assert "SettingsError: resources.json has no errors, poll_seconds" in fails(pipeline)
