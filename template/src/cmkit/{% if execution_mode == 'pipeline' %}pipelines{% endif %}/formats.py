"""Files and tables: CSV, Parquet, JSON lines."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json
from pyarrow import parquet

from .download import Download
from .records import Rejected, SchemaError, check_columns, conform, list_column, type_name

BLOCK_BYTES = 1 << 20
FILE_BYTES = 3 * BLOCK_BYTES
PARQUET_ROWS = 50_000
SUFFIXES = (".csv", ".parquet", ".jsonl")

Part = tuple[int, int, Any, list[Rejected]]


def read(
    content: Download, suffix: str, schema: Any, origin: str, start: int, stop: int, rows: int
) -> Iterator[Part]:
    """The records `start` to `stop` of a file, in parts of at most so many rows that fit in memory.

    A part is its range, its fitting rows as a table, and the records that do not fit. Raises
    SchemaError where a column is missing. A file that breaks off gives what it has, and a rejected
    record that says so.
    """
    first = 0
    for records in _blocks(content, suffix, schema, origin):
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


def _blocks(content: Download, suffix: str, schema: Any, origin: str) -> Iterator[Any]:
    """Records in the order of the file: as a table, as lines of JSON, or as rejected ones."""
    readers = {".csv": _csv_blocks, ".parquet": _parquet_blocks, ".jsonl": _json_blocks}
    try:
        yield from readers[suffix](content, schema, origin)
    except pa.ArrowInvalid as error:
        yield [Rejected(f"the file cannot be read further: {error}", origin, "")]


def _csv_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    malformed: list[Rejected] = []

    def skip(row: Any) -> str:
        reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
        malformed.append(Rejected(reason, f"{origin}, line {row.number}", row.text))
        return "skip"

    with io.TextIOWrapper(content.open(), "utf-8-sig", errors="replace", newline="") as file:
        names = next(csv.reader(file), None)
    if names is None:
        return
    check_columns(names, schema, origin)
    if name := list_column(schema):
        kind = type_name(schema.field(name).type)
        raise SchemaError(
            f'{origin}: column "{name}" is {kind}, and csv holds no lists; use parquet or jsonl'
        )
    # As bytes, so that one bad value costs its row and not the file.
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(schema.names, pa.binary()),
        include_columns=schema.names,
        strings_can_be_null=False,
    )
    with arrow_csv.open_csv(
        content.open(),
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=convert,
    ) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])
    # At the end, for the reader looks ahead: the same file always gives the same blocks.
    yield malformed


def _parquet_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    path = content.complete()
    try:
        with parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, schema, origin)
            for batch in file.iter_batches(PARQUET_ROWS, columns=schema.names):
                yield pa.Table.from_batches([batch])
    except OSError as error:
        raise pa.ArrowInvalid(str(error)) from None  # what pyarrow says of a damaged file


def _json_blocks(content: Download, schema: Any, origin: str) -> Iterator[Any]:
    with content.open() as file:
        while lines := file.readlines(BLOCK_BYTES):
            yield [line for line in lines if line.strip()]


def _parse(part: Any, schema: Any, origin: str, first: int) -> tuple[Any, list[Rejected]]:
    if isinstance(part, pa.Table):
        return conform(part, schema, origin, first)
    if isinstance(part[0], Rejected):
        return schema.empty_table(), part
    text = b"".join(part)
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


def _parse_each(
    lines: list[bytes], schema: Any, origin: str, first: int
) -> tuple[Any, list[Rejected]]:
    """Lines of JSON one by one, where they do not parse together."""
    tables, rejected = [schema.empty_table()], []
    for row, line in enumerate(lines, first):
        try:
            table, misfits = of_records([json.loads(line)], schema, origin, row)
            tables.append(table)
            rejected += misfits
        except ValueError as error:
            text = line.decode("utf-8", "replace").strip()
            rejected.append(Rejected(f"not JSON: {error}", f"{origin}, row {row + 1}", text, row))
    return pa.concat_tables(tables), rejected


def of_records(
    records: list[Any], schema: Any, origin: str, first: int
) -> tuple[Any, list[Rejected]]:
    """JSON values as a table, and those that are no such records."""
    try:
        return conform(_table(records, schema), schema, origin, first)
    except (pa.ArrowInvalid, pa.ArrowTypeError, AttributeError, TypeError) as error:
        if len(records) == 1:
            reason = _misfit(records[0], schema) or str(error)
            text = json.dumps(records[0], ensure_ascii=False)
            refused = Rejected(reason, f"{origin}, row {first + 1}", text, first)
            return schema.empty_table(), [refused]
    tables, rejected = [], []
    for number, record in enumerate(records, first):
        table, misfits = of_records([record], schema, origin, number)
        tables.append(table)
        rejected += misfits
    return pa.concat_tables(tables), rejected


def _table(records: list[Any], schema: Any) -> Any:
    """JSON values as a table. Arrow would take a text for the list of its characters."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    if any(isinstance(record.get(name), str) for record in records for name in lists):
        raise TypeError("a text is no list")
    return pa.Table.from_pylist(records, schema)


def _misfit(record: Any, schema: Any) -> str:
    """The first column of a record that does not fit, in words."""
    if not isinstance(record, dict):
        return "not a JSON object"
    for field in schema:
        try:
            _table([record], pa.schema([field]))
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            return f'column "{field.name}" should be {type_name(field.type)}: {error}'
    return ""


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
            sink.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return sink.getvalue()
