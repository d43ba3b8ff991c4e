"""Files that nobody thought of, against a plain reading: every byte becomes rows, errors, or a reason.

FUZZ=10 tries ten times as many (`make fuzz`).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

FILES = 150 * int(os.environ.get("FUZZ", "1"))
Dice = random.Random
COLUMNS = {"text": str, "n": int, "score": float, "ok": bool}
TEXTS = ["", " ", "a", 'say "hi"', "a,b", "two\nlines", "end\r\n", "\r", "é😀", "\u2028", "x" * 700]
TEXTS += ["null", "NaN", "0", "'", "\\", "\\n", "\ufeff", "#", ";", "\t", '"', '""', "=1+1"]
NUMBERS = [0, 1, -1, 31, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.5, 1e300, 5e-324, 1.5, 3.0, 1e16]
# What has no place in a column, as Python has it.
WRONG: dict[str, list[Any]] = {
    "text": [None, 1, True, [], {}, "\ud83d", ["a"]],
    "n": [None, 1.5, True, "1", 2**63, -(2**64), 10**400, [1], float("nan"), {}],
    "score": [None, True, "0.5", [0.5], {}, float("nan"), float("inf")],
    "ok": [None, 0, 1, "true", []],
}
TOKENS = [
    b'"',
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xed\xa0\xbd",
    b",",
    b"{",
    b"}",
    b"null\n",
    b"[" * 3000,
]
TOKENS += [b"\\ud83d", b"NaN", b"-Infinity", b"1e999", b"9" * 40, b"\xef\xbb\xbf", b'{"n":', b"\n\n", b"{}\n"]  # fmt: skip


class Content:
    """A file that has arrived."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path = content, path

    def open(self) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.content))

    def complete(self) -> Path:
        self.path.write_bytes(self.content)
        return self.path


def record(dice: Dice) -> dict[str, Any]:
    """A record that fits."""
    return {
        "text": dice.choice(TEXTS),
        "n": dice.choice(NUMBERS),
        "score": dice.choice(FLOATS),
        "ok": dice.random() < 0.5,
    }


def records(dice: Dice, wrong: dict[str, list[Any]]) -> list[tuple[dict[str, Any], bool]]:
    """Records, and for each of them whether it fits."""
    found = []
    for _ in range(dice.choice([0, 1, 3, 20, 60])):
        each, fits = record(dice), dice.random() < 0.8
        if not fits:
            name = dice.choice(list(wrong))
            each[name] = dice.choice(wrong[name])
        found.append((each, fits))
    return found


def as_json(dice: Dice, rows: list[dict[str, Any]]) -> bytes:
    ends, ascii = dice.choice(["\n", "\r\n", "\n\n"]), dice.random() < 0.5
    lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    # Half a pair is text only where it is escaped.
    lines = [line if ascii else line.encode("utf-8", "replace").decode() for line in lines]
    return (ends.join(lines) + dice.choice(["", ends])).encode()


def as_csv(dice: Dice, rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO(newline="")
    order = dice.sample(list(COLUMNS), len(COLUMNS))
    # Python before 3.13 leaves a lone "\r" unquoted where lines do not end in one.
    writer = csv.DictWriter(file, order, lineterminator="\r\n")
    if dice.random() < 0.5:
        writer = csv.DictWriter(file, order, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows([{name: shown(row[name]) for name in order} for row in rows])
    return dice.choice([b"", b"\xef\xbb\xbf"]) + file.getvalue().encode()


def shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


CSV_WRONG = {
    "n": ["", "x", "1.5", str(2**63), "0x1F", "1 000"],
    "score": ["", "x"],
    "ok": ["", "y"],
}


def parts(formats: Any, content: Content, suffix: str, dice: Dice, start: int = 0) -> Any:
    """What is read from a row on: the fitting rows, the rejected ones, and where it ends."""
    schema = SCHEMA
    rows, rejected, at = [], [], start
    size = dice.choice([1, 3, 1000])
    for first, stop, table, refused in formats.read(
        content, suffix, schema, "f", start, 10**9, size
    ):
        assert first == at
        assert 0 < stop - first <= size
        assert len(table) + len(refused) == stop - first
        assert all(each.reason for each in refused)
        table.validate(full=True)
        rows += table.to_pylist()
        rejected += refused
        at = stop
    return rows, rejected, at


SCHEMA = pa.schema([("text", pa.string()), ("n", pa.int64()), ("score", pa.float64()), ("ok", pa.bool_())])  # fmt: skip


@pytest.fixture
def formats(glue: Callable[[str], Any]) -> Any:
    """The part of cmkit that reads files, with blocks so small that every file has several."""
    module = glue("pipelines.formats")
    module.BLOCK_BYTES = 256
    return module


def is_same(one: Any, other: Any) -> bool:
    """Whether two records are equal, NaN to itself too."""
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other) and type(one) is type(other)


def plain(content: bytes) -> Iterator[dict[str, Any] | None]:
    """Each line of JSON as a record, or None where it is no record with our columns."""
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.strip():
            yield plain_record(line)


def plain_record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode(), parse_constant=refuse)
        if not isinstance(value, dict):
            return None
        found = {name: plain_value(value.get(name), kind) for name, kind in COLUMNS.items()}
    except (AttributeError, ValueError, RecursionError, OverflowError):
        return None
    return found


def refuse(name: str) -> float:
    raise ValueError(name)


def plain_value(value: Any, kind: type) -> Any:
    """A JSON value as the type of its column; a ValueError where that would change it."""
    if kind is str:
        value.encode()
        return value
    if isinstance(value, bool) == (kind is bool) and isinstance(value, (int, float)):
        if kind is int and not (value == int(value) and -(2**63) <= value < 2**63):
            raise ValueError
        return kind(value)
    raise ValueError


def told(capsys: pytest.CaptureFixture[str], *counts: str) -> None:
    """Print what was tried."""
    with capsys.disabled():
        print(f"\n  {', '.join(counts)}", end=" ")


def test_json_lines_are_read_as_a_plain_reader_reads_them(
    formats: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bad = 0
    for seed in range(2 * FILES):
        dice = random.Random(seed)
        content = as_json(dice, [each for each, _ in records(dice, WRONG)])
        content = spoiled(dice, content) if seed % 2 else content
        expected = list(plain(content))
        rows, rejected, end = parts(formats, Content(content, tmp_path / "f"), ".jsonl", dice)
        fitting = [each for each in expected if each is not None]
        assert end == len(expected), (seed, content)
        assert len(rows) == len(fitting), (seed, content)
        assert all(map(is_same, rows, fitting)), (seed, content)
        assert [each.row for each in rejected] == [
            row for row, each in enumerate(expected) if each is None
        ], (seed, content)
        good, bad = good + len(rows), bad + len(rejected)
    told(capsys, f"{2 * FILES} files of JSON lines", f"{good} rows", f"{bad} refused")


def spoiled(dice: Dice, content: bytes) -> bytes:
    """Some bytes with others in their place."""
    for _ in range(dice.randint(1, 4)):
        place = dice.randint(0, len(content))
        content = (
            content[:place] + dice.choice(TOKENS) + content[place + dice.choice([0, 0, 1, 9]) :]
        )
    return content


def test_csv_is_read_as_it_was_written(
    formats: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bad = 0
    for seed in range(FILES):
        dice = random.Random(seed)
        written = records(dice, CSV_WRONG)
        content = as_csv(dice, [each for each, _ in written])
        rows, rejected, _ = parts(formats, Content(content, tmp_path / "f"), ".csv", dice)
        assert rows == [each for each, fits in written if fits], (seed, content)
        assert [each.row for each in rejected] == [
            row for row, (_, fits) in enumerate(written) if not fits
        ], (seed, content)
        good, bad = good + len(rows), bad + len(rejected)
    told(capsys, f"{FILES} CSV files", f"{good} rows", f"{bad} refused")


def test_parquet_is_read_as_it_was_written(
    formats: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bad = 0
    for seed in range(FILES // 2):
        dice = random.Random(seed)
        # A column has one type, so what does not fit is missing.
        written = records(dice, {name: [None] for name in COLUMNS})
        table = pa.Table.from_pylist([each for each, _ in written], SCHEMA)
        file = io.BytesIO()
        parquet.write_table(table, file, row_group_size=dice.choice([1, 7, 1000]))
        content = Content(file.getvalue(), tmp_path / "f")
        rows, rejected, _ = parts(formats, content, ".parquet", dice)
        assert rows == [each for each, fits in written if fits], seed
        good, bad = good + len(rows), bad + len(rejected)
    told(capsys, f"{FILES // 2} Parquet files", f"{good} rows", f"{bad} refused")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_any_bytes_are_rows_errors_or_a_refused_file_with_a_reason(
    formats: Any,
    glue: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    refused_files = good = bad = 0
    for seed in range(FILES):
        dice = random.Random(seed)
        content = spoiled(dice, whole(dice, suffix)) if seed % 5 else dice.randbytes(seed)
        file = Content(content, tmp_path / "f")
        try:
            rows, rejected, end = parts(formats, file, suffix, dice)
        except glue("pipelines.ends").SchemaError:
            refused_files += 1
            continue
        # What is read again from any row on is the same.
        start = dice.randint(0, end)
        again, more, stop = parts(formats, file, suffix, dice, start)
        assert stop == max(start, end), (seed, content)
        assert len(again) + len(more) == end - start, (seed, content)
        assert all(map(is_same, again, rows[len(rows) - len(again) :])), (seed, content)
        # And every output takes it.
        if table := rows and pa.Table.from_pylist(rows, SCHEMA):
            for output in (".csv", ".parquet"):
                formats.write(table, output)
            finite, _ = glue("pipelines.records").finite(table, "f")
            formats.write(finite, ".jsonl")
        glue("pipelines.loop")._error_table(rejected)
        good, bad = good + len(rows), bad + len(rejected)
    counts = f"{good} rows", f"{bad} refused", f"{refused_files} files refused"
    told(capsys, f"{FILES} spoiled {suffix} files", *counts)


def whole(dice: Dice, suffix: str) -> bytes:
    """A good file."""
    rows = [record(dice) for _ in range(dice.choice([1, 20, 60]))]
    if suffix == ".csv":
        return as_csv(dice, rows)
    if suffix == ".jsonl":
        return as_json(dice, rows)
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    return file.getvalue()
