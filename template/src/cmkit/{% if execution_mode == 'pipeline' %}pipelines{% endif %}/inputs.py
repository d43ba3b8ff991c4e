"""What to read next."""

import hashlib
import itertools
import logging
import re
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from compute_modules.resources import PipelineResource
from foundry_sdk import FoundryClient

from . import formats
from .calls import call
from .download import Download
from .records import Rejected

STREAM_RECORDS = 1000
VERSION = re.compile(r".+-[0-9a-f]{12}")
log = logging.getLogger(__name__)


@dataclass
class Chunk:
    """Rows `start` to `stop` of a source; `last` when the source has ended and gets no more rows.

    `origin` names the source for people: the path of a file, the alias and partition of a stream.
    `places` names the rows, where they have names of their own.
    """

    source: str
    origin: str
    start: int
    stop: int
    table: Any
    rejected: list[Rejected] = field(default_factory=list)
    last: bool = False
    places: list[str] = field(default_factory=list)

    def place(self, index: int) -> str:
        """Where a row of the table came from, for people."""
        row = self.row(index)
        return self.places[row - self.start] if self.places else f"{self.origin}, row {row + 1}"

    def row(self, index: int) -> int:
        """The number in the source of a row of the table, which does not have the rejected ones."""
        refused = {each.row for each in self.rejected}
        fitting = (row for row in range(self.start, self.stop) if row not in refused)
        return next(itertools.islice(fitting, index, None), self.start)


class Source(Protocol):
    """Something with rows in a fixed order: a version of a file, a partition of a stream, a media set."""

    @property
    def name(self) -> str:
        """The name that checkpoints have of it."""

    def chunks(self, schema: Any, start: int, stop: int | None) -> Generator[Chunk]:
        """The rows from `start` up to `stop` or the end, in chunks that fit in memory."""


@dataclass
class FileSource:
    """One version of one file of a dataset."""

    client: FoundryClient
    rid: str
    alias: str
    path: str
    transaction: str
    rows: int

    @property
    def name(self) -> str:
        """Alias, file name and a hash of the version, so that people recognise it."""
        version = hashlib.sha256(f"{self.path}\n{self.transaction}".encode()).hexdigest()[:12]
        stem = re.sub(r"[^A-Za-z0-9-]+", "-", Path(self.path).stem)[:40]
        return f"{self.alias}-{stem}-{version}"

    def check(self, schema: Any) -> None:
        """Raise a SchemaError where the file lacks a column."""
        with self.content() as content:
            formats.check(content, Path(self.path).suffix, schema, self.path)

    def chunks(self, schema: Any, start: int, stop: int | None) -> Generator[Chunk]:
        suffix, row = Path(self.path).suffix, start
        end = sys.maxsize if stop is None else stop
        with (
            self.content() as content,
            closing(
                formats.read(content, suffix, schema, self.path, start, end, self.rows)
            ) as parts,
        ):
            for first, row, table, rejected in parts:
                yield Chunk(self.name, self.path, first, row, table, rejected)
        if stop is None:
            yield Chunk(self.name, self.path, row, row, schema.empty_table(), last=True)

    @contextmanager
    def content(self) -> Iterator[Download]:
        """The file, while it is downloaded."""
        with tempfile.TemporaryDirectory() as folder:
            content = Download(self._fetch, Path(folder) / "content", self.path)
            try:
                yield content
            finally:
                content.close()

    def _fetch(self) -> Any:
        return self.client.datasets.Dataset.File.with_streaming_response.content(
            self.rid,
            self.path,
            start_transaction_rid=self.transaction,
            end_transaction_rid=self.transaction,
        )


@dataclass
class PartitionSource:
    """One partition of a stream, up to the end that it had at the start of the poll."""

    client: FoundryClient
    rid: str
    branch: str
    partition: str
    end: int
    name: str

    def chunks(self, schema: Any, start: int, stop: int | None) -> Generator[Chunk]:
        end = self.end if stop is None else min(stop, self.end)
        while start < end:
            records = call(
                self.client.streams.Dataset.Stream.get_records,
                self.rid,
                self.branch,
                partition_id=self.partition,
                start_offset=start,
                limit=min(STREAM_RECORDS, end - start),
                preview=True,
            )
            # Offsets may have gaps, so the last record may lie beyond the end.
            records = [record for record in records if record.offset < end]
            if not records:
                return
            next_start = records[-1].offset + 1
            values = [record.value for record in records]
            table, rejected = formats.of_records(values, schema, self.name, start)
            yield Chunk(self.name, self.name, start, next_start, table, rejected)
            start = next_start


def files(
    client: FoundryClient, alias: str, resource: PipelineResource, rows: int
) -> list[FileSource]:
    """The files of a dataset, oldest first; hidden ones (`_` or `.` first) are left out."""
    branch = resource.branch or "master"
    listed = call(lambda: list(client.datasets.Dataset.File.list(resource.rid, branch_name=branch)))
    found = []
    for file in sorted(listed, key=lambda file: (file.updated_time, file.path)):
        if any(part.startswith(("_", ".")) for part in Path(file.path).parts):
            continue
        if Path(file.path).suffix not in formats.SUFFIXES:
            warn_once(f"{alias}: {file.path} is skipped: use {', '.join(formats.SUFFIXES)}")
            continue
        transaction = file.transaction_rid
        found.append(FileSource(client, resource.rid, alias, file.path, transaction, rows))
    return found


@cache
def warn_once(message: str) -> None:
    """Warn once of what each poll finds again."""
    log.warning("%s", message)


def gone(known: Iterable[str], listed: Iterable[FileSource]) -> set[str]:
    """The known files that were deleted, or have another version now."""
    there = {file.name for file in listed}
    return {name for name in known if VERSION.fullmatch(name) and name not in there}


def partitions(
    client: FoundryClient, alias: str, resource: PipelineResource
) -> list[PartitionSource]:
    """The partitions of a stream with their present ends."""
    branch = resource.branch or "master"
    ends = call(client.streams.Dataset.Stream.get_end_offsets, resource.rid, branch, preview=True)
    return [
        PartitionSource(client, resource.rid, branch, partition, end, f"{alias}-p{partition}")
        for partition, end in sorted(ends.items())
    ]
