"""Files and tables: CSV, Parquet, JSON lines."""

import csv
import io
import json
import sys
from codecs import BOM_UTF8
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json
from pyarrow import parquet

from .download import Download
from .ends import SchemaError
from .records import (
    Rejected,
    check_columns,
    conform,
    list_column,
    misfit,
    type_name,
)

BLOCK_BYTES = 1 << 20
FILE_BYTES = 3 * BLOCK_BYTES
PARQUET_ROWS = 50_000
LARGEST_BLOCK_BYTES = 1 << 29
# A line with more brackets than this can be nested too deep for Arrow's reader.
MOST_BRACKETS = 500
SUFFIXES = (".csv", ".parquet", ".jsonl")

Part = tuple[int, int, Any, list[Rejected]]

_unraisable = sys.unraisablehook


def _leave_out(unraisable: Any) -> None:
    """Arrow reports a row that is no UTF-8 here; _csv_blocks reads such a file as Latin-1."""
    if not getattr(unraisable.object, "__qualname__", "").startswith("_csv_tables"):
        _unraisable(unraisable)


sys.unraisablehook = _leave_out


def read(
    content: Download, suffix: str, schema: Any, origin: str, start: int, stop: int, rows: int
) -> Generator[Part]:
    """The records `start` to `stop` of a file, in parts of at most `rows` rows.

    A part is its range, the rows that fit as a table, and the records that do not. Raises SchemaError
    where a column is missing. A truncated file gives the rows that it has, and a rejected record that
    says so.
    """
    first = 0
    # Close it even after an error: Arrow reads ahead in a thread, which has to end too.
    with closing(_blocks(content, suffix, schema, origin)) as blocks:
        for records in blocks:
            end = min(stop - first, len(records))
            for low in range(max(start - first, 0), end, rows):
                high = min(low + rows, end)
                part = (
                    records.slice(low, high - low)
                    if isinstance(records, pa.Table)
                    else records[low:high]
                )
                fitting, rejected = _parse(part, schema, origin, first + low)
                yield first + low, first + high, fitting, rejected
            first += len(records)


def check(content: Download, suffix: str, schema: Any, origin: str) -> None:
    """Raise a SchemaError where a column is missing; lines of JSON are checked one by one, later."""
    with closing(_blocks(content, suffix, schema, origin)) as blocks:
        next(blocks, None)


def _blocks(content: Download, suffix: str, schema: Any, origin: str) -> Generator[Any]:
    """Records in the order of the file: as a table, as lines of JSON, or as rejected ones."""
    readers = {".csv": _csv_blocks, ".parquet": _parquet_blocks, ".jsonl": _json_blocks}
    try:
        yield from readers[suffix](content, schema, origin)
    except pa.ArrowInvalid as error:
        yield [Rejected(f"the file cannot be read further: {error}", origin, "")]


def _csv_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    names = csv_header(content)
    if names is None:
        return
    check_columns(names, schema, origin)
    if name := list_column(schema):
        kind = type_name(schema.field(name).type)
        raise SchemaError(
            f'{origin}: column "{name}" is {kind}, and csv holds no lists; use parquet or jsonl'
        )
    malformed: list[Rejected] = []
    block, there, encoding = BLOCK_BYTES, 0, "utf-8"
    while True:
        malformed.clear()
        seen = 0
        try:
            for table in _csv_tables(content, schema, origin, block, encoding, malformed):
                fresh = table.slice(max(0, there - seen))
                seen += len(table)
                there = max(there, seen)
                if len(fresh):
                    yield fresh
            break
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                break  # a header without a line end, and nothing below it
            if "columns, got" in str(error) and encoding == "utf-8":
                # A malformed row that is no UTF-8: Arrow cannot pass it on as text.
                encoding = "latin-1"
                continue
            # A value is longer than two blocks: try again with larger ones.
            if "straddling" not in str(error) or block >= LARGEST_BLOCK_BYTES:
                yield malformed
                raise
            block *= 8
    # At the end, because the reader looks ahead: the same file then always gives the same blocks.
    yield malformed


def open_text(content: Download) -> io.BufferedReader:
    """A file from its beginning, without a byte order mark."""
    file = content.open()
    if file.peek(3).startswith(BOM_UTF8):
        file.read(3)
    return file


def csv_header(content: Download) -> list[str] | None:
    """The names of the columns; None for a file without a line."""
    with io.TextIOWrapper(content.open(), "utf-8-sig", errors="replace", newline="") as file:
        try:
            return next((row for row in csv.reader(file) if "".join(row).strip()), None)
        except csv.Error as error:
            raise pa.ArrowInvalid(f"no CSV header: {error}") from None


def _csv_tables(
    content: Download,
    schema: Any,
    origin: str,
    block: int,
    encoding: str,
    malformed: list[Rejected],
) -> Iterator[Any]:
    """The rows of a CSV file, read in blocks of `block` bytes; malformed rows go into `malformed`.

    In Latin-1 every byte is a letter; the values are turned back into the bytes of the file.
    """

    def skip(row: Any) -> str:
        reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
        text = row.text.encode(encoding).decode("utf-8", "backslashreplace")
        malformed.append(Rejected(reason, f"{origin}, line {row.number}", text))
        return "skip"

    file = open_text(content)
    names = [name.encode().decode(encoding) for name in schema.names]
    # As bytes, so that a bad value rejects its row and not the file.
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.binary()),
        include_columns=names,
        strings_can_be_null=False,
    )
    with arrow_csv.open_csv(
        file,
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=block, encoding=encoding),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=convert,
    ) as reader:
        for batch in reader:
            table = pa.Table.from_batches([batch]).rename_columns(schema.names)
            yield table if encoding == "utf-8" else _bytes_of(table, encoding)


def _bytes_of(table: Any, encoding: str) -> Any:
    """The bytes of the file, from values that Arrow read in another encoding and gives as UTF-8."""
    return pa.table(
        {
            name: pa.array(
                [value.decode().encode(encoding) for value in table[name].to_pylist()], pa.binary()
            )
            for name in table.column_names
        }
    )


def _parquet_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    path = content.complete()
    try:
        with parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, schema, origin)
            for batch in file.iter_batches(PARQUET_ROWS, columns=schema.names):
                yield pa.Table.from_batches([batch])
    except OSError as error:  # how pyarrow reports a damaged file
        raise pa.ArrowInvalid(str(error)) from None


def _json_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    with open_text(content) as file:
        while lines := file.readlines(BLOCK_BYTES):
            yield [line for line in lines if line.strip()]


def _parse(part: Any, schema: Any, origin: str, first: int) -> tuple[Any, list[Rejected]]:
    if isinstance(part, pa.Table):
        return conform(part, schema, origin, first)
    if isinstance(part[0], Rejected):
        return schema.empty_table(), part
    text = b"".join(part)
    # Arrow's reader crashes on a line that is no object or is nested too deep, and accepts NaN and
    # Infinity, which are not JSON.
    if not all(map(_is_plain_object, part)):
        return _parse_each(part, schema, origin, first)
    try:
        table = arrow_json.read_json(
            io.BytesIO(text),
            read_options=arrow_json.ReadOptions(block_size=len(text) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
        if len(table) == len(part):
            return conform(table, schema, origin, first)
    except pa.ArrowInvalid:
        pass
    return _parse_each(part, schema, origin, first)


def _is_plain_object(line: bytes) -> bool:
    brackets = line.count(b"[") + line.count(b"{")
    constant = b"NaN" in line or b"Inf" in line
    return brackets <= MOST_BRACKETS and not constant and line.lstrip()[:1] == b"{"


def _parse_each(
    lines: list[bytes], schema: Any, origin: str, first: int
) -> tuple[Any, list[Rejected]]:
    """Lines of JSON one by one, when they do not parse together."""
    records: list[Any] = []
    rejected, rows = [], []
    for row, line in enumerate(lines, first):
        try:
            records.append(read_json(line))
            rows.append(row)
        except (ValueError, RecursionError) as error:
            text = line.decode("utf-8", "backslashreplace").strip()
            rejected.append(Rejected(f"not JSON: {error}", f"{origin}, row {row + 1}", text, row))
    table, misfits = _fitting(zip(rows, records, strict=True), schema, origin)
    return table, sorted(rejected + misfits, key=lambda each: each.row)


def read_json(line: bytes) -> Any:
    """A line of JSON; a ValueError or RecursionError where it is none."""
    return json.loads(line.decode("utf-8"), parse_constant=_no_constant)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


def of_records(
    records: list[Any], schema: Any, origin: str, first: int
) -> tuple[Any, list[Rejected]]:
    """JSON values as a table, and those that are no such records."""
    return _fitting(enumerate(records, first), schema, origin)


def _fitting(
    records: Iterable[tuple[int, Any]], schema: Any, origin: str
) -> tuple[Any, list[Rejected]]:
    fitting, rejected = [], []
    for row, record in records:
        # Arrow would convert 1.5 to the integer 1, and a text to the list of its letters.
        reason = misfit(record, schema)
        if reason is None:
            fitting.append(record)
        else:
            text = json.dumps(record, ensure_ascii=False, default=str)
            rejected.append(Rejected(reason, f"{origin}, row {row + 1}", text, row))
    return pa.Table.from_pylist(fitting, schema), rejected


def check_format(suffix: str, schema: Any) -> None:
    """Raise a SchemaError where files of this kind cannot hold these columns."""
    if suffix not in SUFFIXES:
        raise SchemaError(f'output_format is "{suffix[1:]}"; use csv, parquet or jsonl')
    if suffix == ".csv" and (name := list_column(schema)):
        raise SchemaError(
            f'output_format is "csv", which holds no lists such as "{name}"; use parquet or jsonl'
        )


def write(table: Any, suffix: str) -> bytes:
    """A table as the content of a file."""
    sink = io.BytesIO()
    if suffix == ".csv":
        # The default of 1024 rows at a time costs more than the rows do.
        arrow_csv.write_csv(table, sink, arrow_csv.WriteOptions(batch_size=len(table)))
    elif suffix == ".parquet":
        parquet.write_table(table, sink)
    else:
        for row in table.to_pylist():
            sink.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    return sink.getvalue()
