"""Record classes as columns."""

import math
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pyarrow as pa
from pyarrow import compute

from .ends import SchemaError

ARROW_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    list[str]: pa.list_(pa.string()),
    list[int]: pa.list_(pa.int64()),
    list[float]: pa.list_(pa.float64()),
    list[bool]: pa.list_(pa.bool_()),
}
FOUNDRY_TYPES = {str: "STRING", int: "LONG", float: "DOUBLE", bool: "BOOLEAN"}
USABLE = "use str, int, float, bool or a list of one of them"


@dataclass
class Rejected:
    """A record that could not be used: why, where it came from, and what it was.

    `row` is its place among the records of its source, where it has one.
    """

    reason: str
    origin: str
    record: str
    row: int = -1


def columns_of(record: type) -> dict[str, type]:
    """The columns of a record class with their types; SchemaError for a type that no column has."""
    columns: dict[str, type] = get_type_hints(record)
    for name, kind in columns.items():
        if kind not in ARROW_TYPES:
            raise SchemaError(f"{record.__name__}.{name}: {USABLE}")
    return columns


def schema_of(record: type) -> Any:
    """The Arrow schema of a record class."""
    return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in columns_of(record).items()])


def foundry_fields(record: type) -> list[dict[str, Any]]:
    """The columns of an output as Foundry describes them; SchemaError for bytes, which are only read."""
    fields = []
    for name, kind in columns_of(record).items():
        if kind is bytes:
            raise SchemaError(f"{record.__name__}.{name}: {USABLE}; bytes are only read")
        fields.append({"name": name, **_foundry_field(kind)})
    return fields


def _foundry_field(kind: type) -> dict[str, Any]:
    if items := get_args(kind):
        return {"type": "ARRAY", "arraySubtype": _foundry_field(items[0]), "nullable": True}
    return {"type": FOUNDRY_TYPES[kind], "nullable": True}


def list_column(schema: Any) -> str | None:
    """The first column that holds lists, which CSV cannot."""
    return next((field.name for field in schema if pa.types.is_list(field.type)), None)


def type_name(kind: Any) -> str:
    """An Arrow type as the record class writes it."""
    if pa.types.is_list(kind):
        return f"list[{type_name(kind.value_type)}]"
    return next((name.__name__ for name, arrow in ARROW_TYPES.items() if arrow == kind), str(kind))


def check_columns(names: list[str], schema: Any, origin: str) -> None:
    """Raise a SchemaError for the first column that is missing, or there twice."""
    for field in schema:
        if (count := names.count(field.name)) > 1:
            raise SchemaError(f'{origin} has the column "{field.name}" {count} times')
        if field.name not in names:
            there = ", ".join(names)
            raise SchemaError(
                f'{origin} has no column "{field.name}" ({type_name(field.type)}); it has {there}'
            )


def conform(table: Any, schema: Any, origin: str, first_row: int) -> tuple[Any, list[Rejected]]:
    """The table with the columns and types of the schema, and the rows whose values do not fit."""
    check_columns(table.column_names, schema, origin)
    columns, reasons = [], dict[int, str]()
    for field in schema:
        values, misfits = _cast(table[field.name], field.type)
        columns.append(values)
        for row, value in misfits.items():
            shown = "empty" if value is None else repr(value)
            reasons.setdefault(
                row, f'column "{field.name}" should be {type_name(field.type)}, is {shown}'
            )
    fitting = pa.table(columns, schema=schema)
    if not reasons:
        return fitting, []
    rejected = [
        Rejected(
            reason, f"{origin}, row {first_row + row + 1}", as_text(table, row), first_row + row
        )
        for row, reason in sorted(reasons.items())
    ]
    keep = pa.array([row not in reasons for row in range(len(table))])
    return fitting.filter(keep), rejected


def misfit(record: Any, schema: Any) -> str | None:
    """Why a JSON value is no record with these columns, or None."""
    if not isinstance(record, dict):
        return "not a JSON object"
    for field in schema:
        value = record.get(field.name)
        if not _is_value(value, field.type):
            shown = "empty" if value is None else repr(value)
            return f'column "{field.name}" should be {type_name(field.type)}, is {shown}'
    return None


def _is_value(value: Any, kind: Any) -> bool:
    """Whether a column of this type can hold a JSON value unchanged."""
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_is_value(item, kind.value_type) for item in value)
    if kind == pa.string():
        return isinstance(value, str) and _is_text(value)
    if kind == pa.bool_():
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind == pa.int64():
        whole = isinstance(value, int) or value.is_integer()
        return whole and -(2**63) <= value < 2**63
    return isinstance(value, float) or abs(value) < 2**1023


def _is_text(value: str) -> bool:
    """Whether a text can be written: half a surrogate pair, which JSON can escape, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(table: Any, row: int) -> str:
    """One row as text, for the errors output."""
    values = {name: _shown(table[name][row]) for name in table.column_names}
    shown = {
        name: f"{len(value):,} bytes" if isinstance(value, bytes) and len(value) > 1000 else value
        for name, value in values.items()
    }
    return str(shown)


def _cast(column: Any, kind: Any) -> tuple[Any, dict[int, Any]]:
    """A column in another type, with the values by row that are null or cannot be converted."""
    try:
        values = compute.cast(_text(column, kind), kind)
        _check_all(values, column, kind)
        if not _has_empty(values):
            return values, {}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    values, misfits = [], {}
    for row, value in enumerate(column):
        try:
            cast = _text(value, kind).cast(kind)
            if cast.is_valid:
                _check(cast, value, kind)
            values.append(cast.as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            values.append(None)
        if values[-1] is None or (_is_list(kind) and None in values[-1]):
            misfits[row] = _shown(value)
    return pa.chunked_array([pa.array(values, kind)]), misfits


def _check_all(values: Any, column: Any, kind: Any) -> None:
    """Raise ArrowInvalid if a text is not UTF-8, or an integer was written in hexadecimal."""
    values.validate(full=True)
    if kind == pa.int64() and pa.types.is_binary(column.type):
        for letter in (b"x", b"X"):
            if compute.any(compute.match_substring(column, letter)).as_py():
                raise pa.ArrowInvalid("a hexadecimal number")


def _check(value: Any, original: Any, kind: Any) -> None:
    """The same for a single value."""
    _check_all(pa.array([value], kind), pa.array([original], original.type), kind)


def _shown(value: Any) -> Any:
    """A value, to show why it does not fit; a text that is not UTF-8 as its bytes."""
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.cast(pa.binary()).as_py() if pa.types.is_string(value.type) else "no UTF-8"


def _text(value: Any, wanted: Any) -> Any:
    """The values of a CSV file, which arrive as bytes, as text."""
    if pa.types.is_binary(value.type) and wanted != pa.binary():
        return value.cast(pa.string())
    return value


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _has_empty(column: Any) -> bool:
    """Whether a value is missing, or an item of a list."""
    items = compute.list_flatten(column) if _is_list(column.type) else column
    return bool(column.null_count or items.null_count)


def check_result(table: Any, schema: Any) -> Any:
    """What process() returned, in the columns and types of the output record.

    A column that is missing or of another type is a SchemaError; an empty value is a ValueError, for
    it may be that of a single row.
    """
    check_columns(table.column_names, schema, "The result of process()")
    for field in schema:
        column = table[field.name]
        if _has_empty(column):
            raise ValueError(f'the result has an empty value in column "{field.name}"')
        if not _fits(column.type, field.type):
            raise SchemaError(
                f'The result of process(): column "{field.name}" should be {type_name(field.type)}, '
                f"is {type_name(column.type)}"
            )
    return table.select(schema.names).cast(schema)


def with_key(schema: Any) -> Any:
    """The columns of a stream; SchemaError if one is called as the key."""
    if "record_key" in schema.names:
        raise SchemaError(
            'OutputRecord has a column "record_key", which is what repeated records of a stream are '
            "known by; give yours another name"
        )
    return pa.schema([pa.field("record_key", pa.string()), *schema])


def finite(table: Any, origin: str) -> tuple[Any, list[Rejected]]:
    """The rows that JSON can carry, and those with NaN or infinity, which it cannot."""
    keep = [True] * len(table)
    refused = []
    for field in table.schema:
        flat = pa.types.is_floating(field.type)
        if not flat and not (_is_list(field.type) and pa.types.is_floating(field.type.value_type)):
            continue
        column = table[field.name]
        items = column if flat else compute.list_flatten(column)
        if compute.all(compute.is_finite(items), min_count=0).as_py():
            continue
        for row, value in enumerate(column.to_pylist()):
            if keep[row] and not all(map(math.isfinite, [value] if flat else value)):
                keep[row] = False
                reason = f'the result has {value} in column "{field.name}", which JSON cannot carry'
                refused.append(Rejected(reason[:500], origin, as_text(table, row)))
    return (table.filter(pa.array(keep)) if refused else table), refused


def _fits(kind: Any, wanted: Any) -> bool:
    """Whether a column goes into another without losing anything."""
    types = pa.types
    if _is_list(wanted):
        return _fits(kind.value_type, wanted.value_type) if _is_list(kind) else types.is_null(kind)
    if wanted == pa.string():
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))
    if wanted == pa.float64():
        return bool(types.is_floating(kind) or types.is_integer(kind) or types.is_null(kind))
    if wanted == pa.int64():
        return bool(types.is_integer(kind) or types.is_null(kind))
    return bool(kind == wanted or types.is_null(kind))
