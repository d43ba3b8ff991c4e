"""References: inputs to look things up in, read whole when the module starts."""

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, overload

import pyarrow as pa
from pyarrow import parquet

from ..platform import platform
from . import formats
from .download import Download
from .ends import SchemaError, SettingsError, one_message
from .inputs import FileSource, files
from .records import schema_of
from .settings import declared, resources

Record = TypeVar("Record")
log = logging.getLogger(__name__)


@overload
def reference(alias: str) -> list[dict[str, Any]]: ...


@overload
def reference(alias: str, record: type[Record]) -> list[Record]: ...


def reference(alias: str, record: type[Any] | None = None) -> list[Any]:
    """The rows of an input of the kind `reference`, as the dataset has them now.

    They are objects of the dataclass `record`, whose fields are columns. Without it they are dicts, and
    the values of a CSV file are text. If a row does not fit, the module exits with the reason:
    otherwise a lookup would miss it silently.
    """
    rows: list[Any] = []
    with one_message():
        inputs = declared()["inputs"]
        if inputs.get(alias) != "reference":
            known = ", ".join(name for name, kind in inputs.items() if kind == "reference")
            raise SettingsError(
                f'resources.json declares no input "{alias}" of the kind "reference"; it declares '
                f"{known or 'none'}"
            )
        resource = resources([alias])[alias]
        for file in files(platform(), alias, resource, formats.PARQUET_ROWS):
            rows += _typed(file, record) if record else _as_they_are(file)
        log.info("%s: %d rows to look up in", alias, len(rows))
    return rows


def _typed(file: FileSource, record: type[Any]) -> Iterator[Any]:
    """The rows of a file as objects of a record class."""
    for row in _fitting(file, schema_of(record)):
        yield record(**row)


def _as_they_are(file: FileSource) -> Iterator[dict[str, Any]]:
    """The rows of a file with the columns and types that it has."""
    suffix = Path(file.path).suffix
    if suffix == ".csv":
        with file.content() as content:
            names = formats.csv_header(content) or []
        yield from _fitting(file, pa.schema([(name, pa.string()) for name in names]))
        return
    with file.content() as content:
        try:
            if suffix == ".parquet":
                yield from parquet.read_table(content.complete()).to_pylist()
            else:
                yield from _json_rows(content, file.path)
        except (pa.ArrowException, OSError) as error:
            raise SchemaError(f"{file.path} cannot be read: {error}") from None


def _json_rows(content: Download, path: str) -> Iterator[dict[str, Any]]:
    with formats.open_text(content) as lines:
        for number, line in enumerate(filter(bytes.strip, lines), 1):
            try:
                row = formats.read_json(line)
            except (ValueError, RecursionError) as error:
                raise SchemaError(f"{path}, row {number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise SchemaError(f"{path}, row {number}: not a JSON object")
            yield row


def _fitting(file: FileSource, schema: Any) -> Iterator[dict[str, Any]]:
    """The rows of a file with these columns; SchemaError for the first one that does not fit."""
    suffix, most = Path(file.path).suffix, formats.PARQUET_ROWS
    with file.content() as content:
        parts = formats.read(content, suffix, schema, file.path, 0, sys.maxsize, most)
        with closing(parts):
            for _, _, table, rejected in parts:
                if rejected:
                    raise SchemaError(f"{rejected[0].origin}: {rejected[0].reason}")
                yield from table.to_pylist()
