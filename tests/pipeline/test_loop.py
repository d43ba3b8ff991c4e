"""What the loop of a rendered pipeline module does with what is new, what is wrong, and who else writes."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet

from foundry_cm.errors import CmError
from foundry_cm.local.pipeline.pipeline import LocalPipeline
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.testing import CallFailed, Pipeline
from tests.pipeline.conftest import Glue, MakePipeline, refused, texts

pytestmark = pytest.mark.slow


@pytest.fixture
def bare(module: Callable[..., Path], tmp_path: Path) -> Callable[..., Pipeline]:
    """A pipeline without inputs yet."""
    return lambda **answers: Pipeline(module(**answers), tmp_path)


def test_only_what_is_new_is_read(bare: Callable[..., Pipeline]) -> None:
    pipeline = bare()
    pipeline.put("input", "a.csv", "id,text\n1,a\n")
    assert pipeline.run().written == {"output": 1, "output-errors": 0}
    pipeline.put("input", "b.csv", "id,text\n2,b\n3,c\n")
    run = pipeline.run()
    assert (run.read, run.written["output"]) == ({"input": 2}, 2)
    pipeline.put("input", "a.csv", "id,text\n4,d\n")
    assert pipeline.run().written["output"] == 1
    assert texts(pipeline) == ["A", "B", "C", "D"]
    assert not any(pipeline.run().written.values())


def test_every_format_is_read_and_written(
    bare: Callable[..., Pipeline], module: Callable[..., Path], tmp_path: Path
) -> None:
    resources = module() / "src" / "resources.json"
    before = resources.read_text()
    try:
        for number, suffix in enumerate(("csv", "parquet", "jsonl")):
            resources.write_text(before.replace('"csv"', f'"{suffix}"'))
            pipeline = Pipeline(module(), tmp_path / suffix)
            pipeline.put("input", "a.csv", 'id,text\n1,"a, b"\n')
            pipeline.put("input", "b.jsonl", '{"id": 2, "text": "c"}\n\n{"id": 3, "text": "é"}\n')
            rows = parquet_file(tmp_path / f"{number}.parquet", {"id": [4], "text": ["d"]})
            pipeline.put("input", "c.parquet", rows)
            pipeline.run()
            assert texts(pipeline) == ["A, B", "C", "D", "É"]
            files = (pipeline.root / "outputs/output").glob("*.*")
            assert {path.suffix for path in files if path.is_file()} == {f".{suffix}"}
    finally:
        resources.write_text(before)


def test_rows_that_are_read_in_small_blocks_share_files(pipeline: MakePipeline) -> None:
    made = pipeline()
    made.run()
    files = list((made.root / "outputs/output").glob("input-a-*.csv"))
    blocks = (made.root / "data/input/a.csv").stat().st_size / (1 << 9)
    assert 1 < len(files) < blocks


def parquet_file(path: Path, columns: dict[str, Any]) -> bytes:
    parquet.write_table(pa.table(columns), path)
    return path.read_bytes()


def test_a_refused_record_says_why_and_where_it_came_from(pipeline: MakePipeline) -> None:
    module = pipeline()
    module.run()
    assert refused(module) == [
        ("3 columns instead of 2", "a.csv, line 15"),
        ("column \"id\" should be int, is b'x'", "a.csv, row 12"),
        ("process() raised ValueError: poison", "a.csv, row 8"),
    ]


def test_a_missing_column_stops_the_module_with_its_name_and_type(
    bare: Callable[..., Pipeline],
) -> None:
    pipeline = bare()
    pipeline.put("input", "a.csv", "id,name\n1,a\n")
    with pytest.raises(
        CallFailed, match=r'SchemaError: a.csv has no column "text" \(str\); it has id, name'
    ):
        pipeline.run()
    assert pipeline.rows("output") == []


def test_a_result_of_another_type_stops_the_module_with_column_and_type(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    folder = module(poll_seconds=7)
    app = folder / "src" / "app.py"
    before = app.read_text()
    app.write_text(before.replace('"id": row["id"]', '"id": str(row["id"])'))
    pipeline = Pipeline(folder, tmp_path)
    pipeline.put("input", "a.csv", "id,text\n1,a\n")
    with pytest.raises(CallFailed, match=r'column "id" should be int, is str'):
        pipeline.run()
    app.write_text(before)


def test_a_record_over_one_megabyte_goes_to_the_errors_and_the_rest_goes_on(
    bare: Callable[..., Pipeline],
) -> None:
    pipeline = bare(inputs={"events": "stream"}, outputs={"output": "stream", "kept": "dataset"})
    large = json.dumps({"id": 2, "text": "x" * 1_000_001})
    lines = ['{"id": 1, "text": "a"}', large, '{"id": 3, "text": "b"}']
    pipeline.put("events", "partition-0.jsonl", "\n".join(lines) + "\n")
    run = pipeline.run()
    assert texts(pipeline) == ["A", "B"]
    assert run.written["kept"] == 3
    [(reason, origin)] = refused(pipeline)
    assert reason == 'the stream "output" refuses it: RecordTooLarge'
    assert origin == "events-p0:0:1"


def test_a_builds_transaction_is_used_and_left_to_the_build(pipeline: MakePipeline) -> None:
    made = pipeline()

    async def watch() -> None:
        async with LocalPipeline(made.settings(of_build=True)) as running:
            await running.idle()
            assert [t.status for t in history(running)] == ["OPEN"]
            assert texts(made) == []
            await running.finish()
            assert [t.status for t in history(running)] == ["COMMITTED"]

    asyncio.run(watch())
    assert len(texts(made)) == 497


def history(running: LocalPipeline, alias: str = "output") -> list[Any]:
    return output(running, alias).history("master")


def output(running: LocalPipeline, alias: str = "output") -> OutputDataset:
    [resource] = [each for each in running.resources if each.alias == alias]
    dataset = running.registry.dataset(resource.rid)
    assert isinstance(dataset, OutputDataset)
    return dataset


def test_what_takes_long_is_committed_on_the_way(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    folder = module(poll_seconds=9)
    loop = folder / "src/cmkit/pipelines/loop.py"
    loop.write_text(loop.read_text().replace("COMMIT_SECONDS = 60", "COMMIT_SECONDS = 0"))
    pipeline = Pipeline(folder, tmp_path)
    pipeline.put("input", "a.csv", "id,text\n" + "".join(f"{n},row {n}\n" for n in range(500)))

    async def commits() -> list[str]:
        async with LocalPipeline(Pipeline(folder, tmp_path).settings()) as running:
            await running.idle()
            return [each.status for each in history(running)]

    found = asyncio.run(commits())
    assert len(found) > 2
    assert set(found) == {"COMMITTED"}
    assert len(texts(pipeline)) == 500


def test_a_second_writer_makes_the_first_one_stop(pipeline: MakePipeline) -> None:
    made = pipeline()

    async def watch() -> None:
        async with LocalPipeline(made.settings(faults=["kill@before-commit"])) as running:

            async def take_over() -> None:
                dataset = output(running)
                dataset.abort(dataset.history("master")[-1].rid)
                dataset.open("master", "APPEND")

            running.faults.on_kill = take_over
            await running.idle()

    with pytest.raises(Exception, match='another process writes the output "output"'):
        asyncio.run(watch())
    assert texts(made) == []


def test_a_writer_that_was_idle_meanwhile_is_found_out_too(pipeline: MakePipeline) -> None:
    made = pipeline()

    async def watch() -> None:
        async with LocalPipeline(made.settings()) as running:
            await running.idle()
            dataset = output(running)
            dataset.commit(dataset.open("master", "APPEND").rid)
            made.put("input", "later.csv", "id,text\n1000,later\n")
            # The inputs show nothing of it: the module reads the file, and stops at the output.
            while True:
                running.check()
                await asyncio.sleep(0.02)

    with pytest.raises(CmError, match='another process writes the output "output"'):
        asyncio.run(watch())
    assert "LATER" not in texts(made)


def test_the_module_waits_as_long_as_the_platform_says(pipeline: MakePipeline) -> None:
    made = pipeline()
    made.run(faults=["429@upload", "503@read"])
    for name in ("RateLimitError", "ServiceUnavailable"):
        assert any(f"Trying again in 1.0 s: {name}" in line for line in made.output.splitlines())


def test_no_batch_has_more_rows_than_were_asked_for(pipeline: MakePipeline, tmp_path: Path) -> None:
    made = pipeline()
    made.folder = shutil.copytree(made.folder, tmp_path / "module")
    resources, app = made.folder / "src/resources.json", made.folder / "src/app.py"
    resources.write_text(json.dumps({**json.loads(resources.read_text()), "batch_rows": 7}))
    rows = "    rows = batch.to_pylist()\n"
    app.write_text(app.read_text().replace(rows, f"{rows}    if len(rows) > 7:\n        exit(1)\n"))
    made.put(
        "input",
        "c.parquet",
        parquet_file(tmp_path / "c", {"id": [*range(500, 520)], "text": ["c"] * 20}),
    )
    made.run(faults=["kill@mid-upload"])
    assert len(texts(made)) == 517
    assert refused(made)[-1] == ("process() raised ValueError: poison", "a.csv, row 8")


def test_sigterm_commits_what_is_whole_and_the_next_start_goes_on(pipeline: MakePipeline) -> None:
    made = pipeline()

    async def stop_in_the_middle() -> None:
        async with LocalPipeline(made.settings(faults=["latency=0.2@upload"])) as running:
            while not running.registry.activity.writes["output"]:
                await asyncio.sleep(0.01)
            await running.finish()
            assert not any(each.status == "OPEN" for each in history(running))

    asyncio.run(stop_in_the_middle())
    assert 0 < len(texts(made)) < 497
    made.run()
    assert len(texts(made)) == 497


def test_the_process_stays_alive_with_nothing_to_do(pipeline: MakePipeline) -> None:
    made = pipeline()

    async def watch() -> None:
        async with LocalPipeline(made.settings()) as running:
            await running.idle()
            await asyncio.sleep(1)
            running.check()
            made.put("input", "later.csv", "id,text\n1000,later\n")
            while not running.registry.activity.files_read.get("input", set()) & {
                made.root / "data/input/later.csv"
            }:
                await asyncio.sleep(0.05)
            await running.idle()

    asyncio.run(watch())
    assert "LATER" in texts(made)


class Response:
    """A streamed answer that breaks off after its first block, as often as it is told to."""

    def __init__(self, content: bytes, failures: list[Exception]) -> None:
        self.content, self.failures = content, failures

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None: ...

    def iter_bytes(self, _: int) -> Iterator[bytes]:
        yield self.content[:10]
        if self.failures:
            raise self.failures.pop()
        yield self.content[10:]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_download_that_fails_is_not_taken_for_a_short_file(
    glue: Glue, tmp_path: Path, suffix: str
) -> None:
    schema = pa.schema([("text", pa.string())])
    response = Response(b'text\n"a"\n"b"\n', [OSError("no space left on device")])
    content = glue("pipelines.download").Download(lambda: response, tmp_path / "content")
    with pytest.raises(glue("pipelines.download").DownloadFailed, match="no space left"):
        list(glue("pipelines.formats").read(content, suffix, schema, "a", 0, 99, 10))


def test_a_download_that_breaks_off_goes_on_where_it_was(glue: Glue, tmp_path: Path) -> None:
    content = b"0123456789abcdefghij"
    response = Response(content, [httpx.ReadError("cut"), httpx.ReadError("cut")])
    download = glue("pipelines.download").Download(lambda: response, tmp_path / "content")
    assert download.open().read() == content
    assert download.complete().read_bytes() == content


def test_a_download_that_nobody_wants_any_more_is_not_tried_again(
    glue: Glue, tmp_path: Path
) -> None:
    response = Response(b"0123456789", [httpx.ReadError("cut") for _ in range(20)])
    download = glue("pipelines.download").Download(lambda: response, tmp_path / "content")
    download.available(10)
    began = time.monotonic()
    download.close()
    assert time.monotonic() - began < 3, "it would be tried for 300 s"
    assert len(response.failures) > 10


def test_every_request_has_the_token_that_is_mounted_now(
    glue: Glue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    monkeypatch.setenv("BUILD2_TOKEN", str(token))
    auth = glue("platform").FreshPipelineAuth()
    # Uploads run in threads of their own, and share the client.
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: auth.get_token().access_token, range(4000))
        assert set(found) == {"first"}
    token.write_text("second")
    assert auth.get_token().access_token == "second"
