"""What an output was written with: its columns, and the format of its files.

The first transaction notes it, beside the checkpoints, so that rows of another kind are never mixed
with the old ones.
"""

from dataclasses import dataclass
from typing import Any

from .ends import EndError, SchemaError
from .records import type_name

# How the columns of a stream may be declared, by the Arrow type of ours.
STREAM_TYPES = {
    "str": {"string"},
    "int": {"long", "integer", "short", "byte"},
    "float": {"double", "float"},
    "bool": {"boolean"},
}


class OutputChanged(EndError):
    """An output has rows of another kind."""


@dataclass(frozen=True)
class Shape:
    """The columns of an output with their types, in order, and its format: that of its files, or stream."""

    format: str
    columns: dict[str, str]

    @classmethod
    def of(cls, schema: Any, format: str) -> "Shape":
        """That of an Arrow schema."""
        return cls(format, {field.name: type_name(field.type) for field in schema})

    def check(self, alias: str, noted: dict[str, Any]) -> None:
        """Raise an OutputChanged where it differs from what was noted; it says how."""
        if changes := list(self._changes(**noted)):
            raise OutputChanged(
                f'the output "{alias}" has rows of another kind: {", ".join(changes)}. Nothing is '
                "read, for old and new rows would lie in one output. Undo the change, or process "
                "everything again: cm run --fresh on a laptop; the README says how in Foundry"
            )

    def check_stream(self, alias: str, fields: list[Any]) -> None:
        """Raise a SchemaError where a stream would refuse every record."""
        declared = {field.name: field.schema_ for field in fields}
        wrong = [
            f'it has no column "{name}" ({kind})'
            for name, kind in self.columns.items()
            if name not in declared
        ]
        wrong += [
            f'its column "{name}" is {declared[name].data_type.type}, not {kind}'
            for name, kind in self.columns.items()
            if name in declared
            and declared[name].data_type.type not in STREAM_TYPES.get(kind, {"array"})
        ]
        wrong += [
            f'it wants a column "{name}", which OutputRecord lacks'
            for name, each in declared.items()
            if name not in self.columns and not each.nullable
        ]
        if wrong:
            raise SchemaError(
                f'the stream "{alias}" would refuse every record: {", ".join(wrong)}. Mend '
                "OutputRecord, or give the module a stream with its columns"
            )

    def _changes(self, format: str, columns: dict[str, str]) -> list[str]:
        """What has changed, in words."""
        changes = [
            f'"{name}" ({kind}) is new'
            for name, kind in self.columns.items()
            if name not in columns
        ]
        for name, kind in columns.items():
            now = self.columns.get(name)
            if now is None:
                changes.append(f'"{name}" ({kind}) is gone')
            elif now != kind:
                changes.append(f'"{name}" was {kind} and is {now}')
        if format != self.format:
            changes.append(f"its files are {format}, and now would be {self.format}")
        # A reader of CSV goes by the order.
        elif not changes and format == "csv" and list(columns) != list(self.columns):
            changes.append(f"its columns are in the order {', '.join(columns)}")
        return changes
