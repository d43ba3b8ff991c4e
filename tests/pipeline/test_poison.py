"""One poison record or file costs itself and nothing else, at this start and at the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from foundry_cm.testing import CallFailed, Pipeline
from tests.conftest import Render
from tests.pipeline.conftest import refused

pytestmark = pytest.mark.slow

COLUMNS = {"text": "str", "n": "int", "score": "float", "ok": "bool"}
GOOD = {"text": "good", "n": 1, "score": 0.5, "ok": True}


@pytest.fixture(scope="session")
def module(render: Render) -> Callable[..., Path]:
    """A pipeline that passes its rows on as they are; once for each shape."""
    made: dict[str, Path] = {}

    def make(**answers: Any) -> Path:
        key = repr(sorted(answers.items()))
        if key not in made:
            made[key] = render(
                execution_mode="pipeline", payload_fields=COLUMNS, result_fields=COLUMNS, **answers
            )
        return made[key]

    return make


def line(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes}) + "\n"


DEEP = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
POISON = {
    "a whole number beyond 64 bits": (line(n=2**63), 'column "n" should be int, is 9223372036854775808'),
    "a fraction for a whole number": (line(n=1.5), 'column "n" should be int, is 1.5'),
    "a truth value for a number": (line(n=True), 'column "n" should be int, is True'),
    "half a surrogate pair": (line(text="\ud83d"), "column \"text\" should be str, is '\\ud83d'"),
    "null": ("null\n", "not a JSON object"),
    "a bare text": ('"text"\n', "not a JSON object"),
    "NaN": (line(score=float("nan")), "not JSON: NaN is no JSON value"),
    "JSON nested deep": (DEEP, "not JSON: maximum recursion depth exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("poison", POISON)
def test_a_poison_record_costs_itself(
    module: Callable[..., Path], tmp_path: Path, poison: str, first: bool
) -> None:
    text, reason = POISON[poison]
    pipeline = Pipeline(module(), tmp_path)
    pipeline.put("input", "a.jsonl", text + line() if first else line() + text)
    run = pipeline.run()
    assert (run.written["output"], run.written["output-errors"]) == (1, 1)
    assert pipeline.rows("output")[0]["text"] == "good"
    assert refused(pipeline)[0][0].startswith(reason)
    assert not any(pipeline.run().written.values())


@pytest.mark.parametrize(
    "value", [2**63, 1.5, "\ud83d"], ids=["beyond 64 bits", "fraction", "text"]
)
def test_a_poison_record_of_a_stream_costs_itself(
    module: Callable[..., Path], tmp_path: Path, value: Any
) -> None:
    shape = {"inputs": {"events": "stream"}, "outputs": {"out": "dataset", "live": "stream"}}
    pipeline = Pipeline(module(**shape), tmp_path)
    bad = line(text=value) if isinstance(value, str) else line(n=value)
    pipeline.put("events", "r.jsonl", line() + bad + line(text="after"))
    pipeline.run()
    for alias in ("out", "live"):
        assert [row["text"] for row in pipeline.rows(alias)] == ["good", "after"]
    assert len(refused(pipeline, "out-errors")) == 1


def test_text_that_is_no_utf8_costs_its_row(module: Callable[..., Path], tmp_path: Path) -> None:
    pipeline = Pipeline(module(), tmp_path)
    bad = line(text="?").encode().replace(b"?", b"\xff\xfe")
    pipeline.put("input", "a.jsonl", line().encode() + bad)
    pipeline.put("input", "b.csv", b"text,n,score,ok\n\xff,1,0.5,true\nc,2,0.5,true\n")
    texts = pa.array([b"\xff", b"d"], pa.binary()).view(pa.string())
    table = pa.table({"text": texts, "n": [1, 2], "score": [0.5, 0.5], "ok": [True, True]})
    parquet.write_table(table, tmp_path / "bad.parquet")
    pipeline.put("input", "c.parquet", (tmp_path / "bad.parquet").read_bytes())
    run = pipeline.run()
    assert sorted(row["text"] for row in pipeline.rows("output")) == ["c", "d", "good"]
    assert run.written["output-errors"] == 3


def test_a_number_in_base_16_is_no_whole_number(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    pipeline = Pipeline(module(), tmp_path)
    pipeline.put("input", "a.csv", "text,n,score,ok\na,0x1F,0.5,true\nb,31,0.5,true\n")
    pipeline.run()
    assert [row["text"] for row in pipeline.rows("output")] == ["b"]
    assert refused(pipeline) == [("column \"n\" should be int, is b'0x1F'", "a.csv, row 1")]


def test_a_value_larger_than_the_reader_s_blocks_is_read_and_so_is_what_follows(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    pipeline = Pipeline(module(), tmp_path)
    rows = "".join(f"r{number},{number},0.5,true\n" for number in range(5))
    large = "x" * 2_500_000
    pipeline.put("input", "a.csv", f"text,n,score,ok\nfirst,1,0.5,true\n{large},2,0.5,true\n{rows}")
    run = pipeline.run()
    assert (run.written["output"], run.written["output-errors"]) == (7, 0)


@pytest.mark.parametrize(
    "text", ["\n\ntext,n,score,ok\na,1,0.5,true\n", "text,n,score,ok", "\n\n", ""]
)
def test_blank_lines_and_a_header_alone_are_no_error(
    module: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    pipeline = Pipeline(module(), tmp_path)
    pipeline.put("input", "a.csv", text)
    run = pipeline.run()
    assert (run.written["output"], run.written["output-errors"]) == (text.count("a,1"), 0)


def test_nan_and_infinity_never_reach_json(module: Callable[..., Path], tmp_path: Path) -> None:
    shape = {"outputs": {"live": "stream"}}
    pipeline = Pipeline(module(**shape), tmp_path)
    pipeline.put("input", "a.csv", "text,n,score,ok\na,1,nan,true\nb,1,inf,true\nc,1,0.5,true\n")
    pipeline.run()
    assert [row["text"] for row in pipeline.rows("live")] == ["c"]
    assert [reason for reason, _ in refused(pipeline, "live-errors")] == [
        'the result has inf in column "score", which JSON cannot carry',
        'the result has nan in column "score", which JSON cannot carry',
    ]


def test_a_fault_in_process_stops_the_module_and_loses_no_row(
    render: Render, tmp_path: Path
) -> None:
    folder = render(execution_mode="pipeline", payload_fields=COLUMNS, result_fields=COLUMNS)
    app = folder / "src" / "app.py"
    good = app.read_text()
    app.write_text(good.replace("    return pa.table(", "    missing_name\n    return pa.table("))
    pipeline = Pipeline(folder, tmp_path)
    pipeline.put("input", "a.jsonl", line() + line() + line())
    with pytest.raises(CallFailed, match="NameError: name 'missing_name' is not defined"):
        pipeline.run()
    assert pipeline.rows("output") == []
    app.write_text(good)
    assert pipeline.run().written == {"output": 3, "output-errors": 0}


def test_a_column_named_as_the_key_of_streams_is_refused(render: Render, tmp_path: Path) -> None:
    folder = render(
        execution_mode="pipeline",
        payload_fields={"text": "str"},
        result_fields={"text": "str", "key": "str"},
        outputs={"live": "stream"},
    )
    app = folder / "src/app.py"
    app.write_text(app.read_text().replace("key: str", "record_key: str"))
    pipeline = Pipeline(folder, tmp_path)
    with pytest.raises(CallFailed, match='OutputRecord has a column "record_key"'):
        pipeline.run()
