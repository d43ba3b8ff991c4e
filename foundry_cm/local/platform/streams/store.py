"""A stream: one file of JSON lines a partition, `partition-0.jsonl`; a record's offset is its line.

An input's partitions are whatever `*.jsonl` lies in `data/<alias>/`, each known by its file's name.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.resources import (
    DEFAULT_BRANCH,
    Resource,
    derived_rid,
    read_state,
    remove_file,
    write_json,
)

RECORD_LIMIT_BYTES = 1_000_000
"""SDK: "The maximum record size is 1MB for most enrollments" (RecordTooLarge)."""

READ_LIMIT = 1000
"""SDK: a subscriber reads at most 1000 records a call; for `get_records` inferred."""

CHECKS = {
    "boolean": lambda value: isinstance(value, bool),
    "byte": lambda value: _integer(value, 8),
    "short": lambda value: _integer(value, 16),
    "integer": lambda value: _integer(value, 32),
    "long": lambda value: _integer(value, 64) or (isinstance(value, str) and _digits(value)),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "binary": lambda value: isinstance(value, str),
}


def _integer(value: Any, bits: int) -> bool:
    limit = 1 << (bits - 1)
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _digits(value: str) -> bool:
    return value.lstrip("-").isdigit()


@dataclass
class _Index:
    """Where the lines of a file begin, and how much of it has been looked at."""

    starts: list[int] = field(default_factory=list)
    end: int = 0


class _DataType(msgspec.Struct):
    """The type of a field; more may be said of it."""

    type: str = ""


class _FieldSchema(msgspec.Struct):
    dataType: _DataType  # noqa: N815  (the platform's name)
    nullable: bool = True


class _Field(msgspec.Struct):
    name: str
    schema: _FieldSchema


class StreamSchema(msgspec.Struct):
    """What this store reads of the schema of a stream."""

    fields: list[_Field]
    keyFieldNames: list[str] | None = None  # noqa: N815


class _State(msgspec.Struct):
    """What is kept of a stream."""

    schema: dict[str, Any] | None = None
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    type: str = "LOW_LATENCY"

    def __post_init__(self) -> None:
        # Kept whole, and read in parts: those are of their types.
        if self.schema is not None:
            msgspec.convert(self.schema, StreamSchema)


class Stream:
    """Partitions and schema of one stream."""

    def __init__(self, root: Path, resource: Resource) -> None:
        self.resource = resource
        self.root = root
        self.folder = resource.folder(root)
        self.store = resource.state(root)
        self._lock = threading.Lock()
        self._index: dict[Path, _Index] = {}
        self._next = 0
        kept = read_state(self.store / "stream.json", _State) or _State()
        self.state: dict[str, Any] = msgspec.to_builtins(kept)

    @property
    def view_rid(self) -> str:
        """The stream's one view."""
        return derived_rid("stream-view", self.resource.rid)

    def as_json(self) -> dict[str, Any]:
        """As `Stream.get` shows it."""
        return {
            "branchName": DEFAULT_BRANCH,
            "schema": self.schema(),
            "viewRid": self.view_rid,
            "partitionsCount": len(self.partitions()),
            "streamType": self.state["type"],
            "compressed": False,
        }

    def schema(self) -> dict[str, Any]:
        """The schema that was set, or for an input the one of its first record (inferred)."""
        known: dict[str, Any] | None = self.state["schema"]
        if known is None and not self.resource.writable:
            known = self._inferred_schema()
        if known is None:
            raise ApiError(
                "InvalidStreamNoSchema",
                status=400,
                datasetRid=self.resource.rid,
                branchName=DEFAULT_BRANCH,
            )
        return known

    def create(self, schema: dict[str, Any], partitions: int, kind: str) -> None:
        """Sets schema and partitions; what was published goes."""
        with self._lock:
            for path in self.partitions().values():
                path.unlink(missing_ok=True)
            self.state = {"schema": schema, "partitions": partitions, "type": kind}
            self._index.clear()
            write_json(self.store / "stream.json", self.state)

    def forget(self) -> None:
        """Remove the partitions of an output that something was published to."""
        if self.resource.writable and (self.store / "stream.json").is_file():
            for path in self.partitions().values():
                remove_file(path, self.root)

    def partitions(self) -> dict[str, Path]:
        """Partition ids with their files."""
        if self.resource.writable:
            names = [f"partition-{number}.jsonl" for number in range(self.state["partitions"])]
            return {str(number): self.folder / name for number, name in enumerate(names)}
        found = self.resource.files(self.root)
        files = [path for path in found if path.suffix == ".jsonl" and path.parent == self.folder]
        files = files or [self.folder / "partition-0.jsonl"]
        return {path.stem.removeprefix("partition-"): path for path in files}

    def end_offsets(self) -> dict[str, int]:
        """The offset of the next record of each partition."""
        with self._lock:
            return {name: len(self._lines(path)) for name, path in self.partitions().items()}

    def records(self, partition: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Records with their offsets, from an offset on, at most `limit` of them."""
        path = self.partitions().get(partition)
        if path is None:
            raise ApiError("PartitionNotFound", status=404, partitionId=partition)
        with self._lock:
            starts = self._lines(path)[start : start + max(0, min(limit, READ_LIMIT))]
        if not starts:
            return []
        found = []
        with path.open("rb") as file:
            for offset, begin in enumerate(starts, start):
                file.seek(begin)
                found.append({"offset": offset, "value": _record(file.readline(), path, offset)})
        return found

    def publish(self, records: list[dict[str, Any]]) -> None:
        """Appends records, all or none."""
        lines: dict[str, list[bytes]] = {}
        for record in records:
            self._check(record)
            line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
            if len(line) > RECORD_LIMIT_BYTES:
                raise ApiError("RecordTooLarge")
            lines.setdefault(self._partition(record), []).append(line)
        with self._lock:
            if not (self.store / "stream.json").is_file():
                # From now on the partitions are ours.
                write_json(self.store / "stream.json", self.state)
            paths = self.partitions()
            for partition in lines:
                self._lines(paths[partition])
            ends = {partition: _size(paths[partition]) for partition in lines}
            try:
                for partition, added in lines.items():
                    with paths[partition].open("ab") as file:
                        file.write(b"".join(line + b"\n" for line in added))
            except OSError:
                for partition, end in ends.items():
                    if _size(paths[partition]) > end:
                        os.truncate(paths[partition], end)
                raise

    def has_field(self, name: str) -> bool:
        """Whether the schema that was set has a field of that name."""
        schema = self.state["schema"] or {}
        return any(each.get("name") == name for each in schema.get("fields", []))

    def denied(self, name: str) -> ApiError:
        """The error for a write to an input."""
        return ApiError(
            name, status=403, datasetRid=self.resource.rid, streamBranchName=DEFAULT_BRANCH
        )

    # Inside

    def _lines(self, path: Path) -> list[int]:
        """Where each whole line begins; a last line that was cut short is dropped on output."""
        size = _size(path)
        index = self._index.setdefault(path, _Index())
        if size < index.end:
            index.starts.clear()
            index.end = 0
        if size == index.end:
            return index.starts
        with path.open("rb") as file:
            file.seek(index.end)
            for line in file:
                if not line.endswith(b"\n") and self.resource.writable:
                    os.truncate(path, index.end)
                    break
                if line.strip():
                    index.starts.append(index.end)
                index.end += len(line)
        return index.starts

    def _partition(self, record: dict[str, Any]) -> str:
        count = self.state["partitions"]
        keys = (self.state["schema"] or {}).get("keyFieldNames")
        if keys:
            text = json.dumps([record.get(key) for key in keys])
            return str(zlib.crc32(text.encode()) % count)
        self._next += 1
        return str(self._next % count)

    def _check(self, record: dict[str, Any]) -> None:
        schema = self.state["schema"]
        if schema is None:
            return
        kinds = {each["name"]: each["schema"] for each in schema["fields"]}
        wrong = [f'"{name}" is not one of its fields' for name in record if name not in kinds]
        for name, wanted in kinds.items():
            value, kind = record.get(name), wanted["dataType"].get("type", "")
            if value is None:
                fits = wanted.get("nullable", True)
            else:
                fits = kind not in CHECKS or CHECKS[kind](value)
            if not fits:
                wrong.append(f'"{name}" is no {kind}')
        if wrong:
            raise ApiError(
                "RecordDoesNotMatchStreamSchema",
                datasetRid=self.resource.rid,
                branchName=DEFAULT_BRANCH,
                message=f"{'; '.join(wrong)}. The fields: {', '.join(kinds)}",
            )

    def _inferred_schema(self) -> dict[str, Any] | None:
        for partition in self.partitions():
            for record in self.records(partition, 0, 1):
                fields = [
                    {"name": name, "schema": {"nullable": True, "dataType": {"type": _type(value)}}}
                    for name, value in record["value"].items()
                ]
                return {"fields": fields}
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "long", float: "double"}
    return names.get(type(value), "string")


def _record(line: bytes, path: Path, offset: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        where = f"{path.name}, record {offset}"
        # Not as the platform's own fault: the client would try again for minutes.
        raise ApiError("MalformedRecord", status=400, message=f"{where}: not a JSON object")
    return value
