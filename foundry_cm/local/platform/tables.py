"""Rows of files: schemas, readTable, and counting. The only part that needs pyarrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from foundry_cm.local.platform.datasets.dataset import FileEntry
from foundry_cm.local.platform.errors import ApiError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet", ".jsonl", ".json")

SCHEMA_TYPES = {
    "ARRAY",
    "BINARY",
    "BOOLEAN",
    "BYTE",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INTEGER",
    "LONG",
    "MAP",
    "SHORT",
    "STRING",
    "STRUCT",
    "TIMESTAMP",
}


def data_files(files: dict[str, FileEntry]) -> list[FileEntry]:
    """The files a table is made of: hidden ones (`_` or `.` first) do not count."""
    return [files[path] for path in sorted(files) if not hidden(path)]


def hidden(path: str) -> bool:
    """Whether any part of a path begins with `_` or `.`, which Foundry leaves out of tables."""
    return any(part.startswith(("_", ".")) for part in PurePosixPath(path).parts)


def checked_schema(schema: Any) -> dict[str, Any]:
    """The schema, or InvalidSchema unless it is a list of named fields of known types."""
    fields = schema.get("fieldSchemaList") if isinstance(schema, dict) else None
    if not isinstance(fields, list) or not fields:
        raise ApiError("InvalidSchema", errorType="EMPTY", message="fieldSchemaList is missing")
    names = [each.get("name") for each in fields]
    for each in fields:
        _check_type(each)
    if len(set(names)) != len(names):
        raise ApiError("InvalidSchema", errorType="DUPLICATE_COLUMN", message=str(names))
    return {"fieldSchemaList": fields}


def _check_type(field: Any) -> None:
    """InvalidSchema unless a field's type is known, and for an array that of its items."""
    kind = field.get("type") if isinstance(field, dict) else None
    if kind not in SCHEMA_TYPES:
        raise ApiError(
            "InvalidSchema", errorType="UNKNOWN_TYPE", message=f"unknown type in {field}"
        )
    if kind == "ARRAY":
        _check_type(field.get("arraySubtype"))


def read(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """A whole file as a table, by its suffix; with a schema, columns take its types."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import json as jsonl
    from pyarrow import parquet

    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        return table.cast(schema) if schema else table
    if path.suffix == ".csv":
        options = arrow_csv.ConvertOptions(
            column_types=schema, strings_can_be_null=False, include_columns=_names(schema)
        )
        return arrow_csv.read_csv(path, convert_options=options)
    if path.suffix in (".jsonl", ".json"):
        parse = jsonl.ParseOptions(explicit_schema=schema)
        return jsonl.read_json(path, parse_options=parse)
    raise pa.ArrowInvalid(f"{path.name}: not a table")


def _names(schema: pa.Schema | None) -> list[str] | None:
    return list(schema.names) if schema is not None else None


def _require_pyarrow() -> None:
    """Say what this machine lacks, to a module that reads tables where `cm` has no pyarrow."""
    if find_spec("pyarrow") is None:
        message = 'the local platform needs pyarrow for tables: pip install "foundry-cm[pipeline]"'
        raise ApiError("Default:Internal", status=500, message=message)


def inferred_schema(paths: Iterable[Path]) -> dict[str, Any] | None:
    """The schema of an input nobody gave one: that of its first file (inferred behaviour)."""
    _require_pyarrow()
    import pyarrow as pa

    for path in paths:
        if path.suffix not in SUFFIXES:
            continue
        try:
            schema = read(path).schema
        except pa.ArrowInvalid:
            continue
        return {"fieldSchemaList": [{"name": each.name, **foundry_type(each)} for each in schema]}
    return None


def foundry_type(field: pa.Field) -> dict[str, Any]:
    """How Foundry describes the type of a column."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = foundry_type(kind.value_field)
        return {"type": "ARRAY", "arraySubtype": items, "nullable": field.nullable}
    return {"type": _scalar_type(kind), "nullable": field.nullable}


def _scalar_type(kind: pa.DataType) -> str:
    """The name Foundry gives a type of Arrow."""
    import pyarrow as pa

    names = {
        pa.bool_(): "BOOLEAN",
        pa.int8(): "BYTE",
        pa.int16(): "SHORT",
        pa.int32(): "INTEGER",
        pa.int64(): "LONG",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.string(): "STRING",
        pa.large_string(): "STRING",
        pa.binary(): "BINARY",
        pa.date32(): "DATE",
        pa.null(): "STRING",
    }
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    if kind in names:
        return names[kind]
    raise ApiError("InvalidSchema", errorType="UNKNOWN_TYPE", message=str(kind))


def arrow_schema(rid: str, schema: dict[str, Any]) -> pa.Schema:
    """A Foundry schema in Arrow's types; ColumnTypesNotSupported for nested ones but arrays."""
    import pyarrow as pa

    types = {
        "BINARY": pa.binary(),
        "BOOLEAN": pa.bool_(),
        "BYTE": pa.int8(),
        "DATE": pa.date32(),
        "DOUBLE": pa.float64(),
        "FLOAT": pa.float32(),
        "INTEGER": pa.int32(),
        "LONG": pa.int64(),
        "SHORT": pa.int16(),
        "STRING": pa.string(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    }

    def arrow_type(field: dict[str, Any]) -> pa.DataType:
        if field["type"] == "ARRAY":
            return pa.list_(arrow_type(field["arraySubtype"]))
        if field["type"] not in types:
            raise ApiError("ColumnTypesNotSupported", status=400, datasetRid=rid)
        return types[field["type"]]

    return pa.schema(
        [pa.field(each["name"], arrow_type(each)) for each in schema["fieldSchemaList"]]
    )


def export(
    rid: str,
    files: dict[str, FileEntry],
    schema: dict[str, Any],
    kind: str,
    columns: list[str],
    limit: int | None,
) -> tuple[bytes, int]:
    """The rows of a view for `readTable`, as an Arrow stream or as CSV with a header, and their number."""
    _require_pyarrow()
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    arrow = arrow_schema(rid, schema)
    tables = [arrow.empty_table()]
    for entry in data_files(files):
        try:
            tables.append(read(entry.location, arrow))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
            raise ApiError(
                "ReadTableError", datasetRid=rid, message=f"{entry.path}: {error}"
            ) from None
    table = pa.concat_tables(tables)
    if columns:
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            message = f"no such column: {', '.join(missing)}"
            raise ApiError("ReadTableError", datasetRid=rid, message=message)
        table = table.select(columns)
    if limit is not None:
        table = table.slice(0, limit)
    sink = io.BytesIO()
    if kind == "CSV":
        if any(pa.types.is_list(each) for each in table.schema.types):
            raise ApiError("ColumnTypesNotSupported", status=400, datasetRid=rid)
        arrow_csv.write_csv(table, sink)
        return sink.getvalue(), len(table)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue(), len(table)


def _csv_records(path: Path) -> int:
    """Rows as a reader of CSV counts them, for which a quote inside of a plain value is a letter."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return sum(1 for row in csv.reader(file) if row)


def count_rows(path: Path) -> int:
    """How many rows or records a file holds, in bounded memory; 0 for one that is no table."""
    try:
        return _count_rows(path)
    except (OSError, ValueError, csv.Error):  # gone meanwhile, or not what its name says
        return 0


def _count_rows(path: Path) -> int:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return int(parquet.read_metadata(path).num_rows)
    if path.suffix == ".csv":
        return max(0, _csv_records(path) - 1)
    if path.suffix in (".jsonl", ".json"):
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    return 0
