"""Where rows go, and how far each output has come.

The checkpoint of an output is in the output itself, in the transaction of its rows: the names of its
files say which rows of which source they hold. So rows and checkpoint are committed together or not
at all, and a new replica reads there where to continue.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import foundry_sdk
import pyarrow as pa
from compute_modules.resources import PipelineResource
from foundry_sdk import FoundryClient
from foundry_sdk.v2.datasets import errors
from foundry_sdk.v2.streams import errors as errors_of_streams

from . import formats
from .calls import call
from .ends import EndError
from .inputs import Chunk
from .records import Rejected
from .shapes import Shape

CHECKPOINTS = "_checkpoint"
SHAPE = "columns.json"
RECORD_BYTES = 1_000_000
PUBLISH_RECORDS = 200
UPLOADS = ThreadPoolExecutor(thread_name_prefix="upload")
MARK = re.compile(r"(?P<source>.+)\.(?P<start>\d{12})-(?P<stop>\d{12})(?P<done>\.done)?\.[a-z]+")
log = logging.getLogger(__name__)


class SecondWriter(EndError):
    """Another process has taken over this output."""


class Positions:
    """How far a target has come in each source."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._done: set[str] = set()

    def note(self, source: str, stop: int, done: bool = False) -> None:
        self._rows[source] = max(stop, self._rows.get(source, 0))
        if done:
            self._done.add(source)

    def read(self, name: str) -> None:
        """Note what the name of a file says."""
        if match := MARK.fullmatch(name):
            self.note(match["source"], int(match["stop"]), bool(match["done"]))

    def sources(self) -> set[str]:
        return set(self._rows)

    def row(self, source: str) -> int:
        return self._rows.get(source, 0)

    def done(self, source: str) -> bool:
        return source in self._done


@dataclass
class Rows:
    """Rows of one source that wait to be written as one file."""

    source: str
    start: int
    stop: int = 0
    size: int = 0
    tables: list[Any] = field(default_factory=list)

    def add(self, stop: int, table: Any) -> None:
        self.stop = stop
        self.size += table.nbytes
        self.tables.append(table)


class DatasetTarget:
    """A dataset that is written.

    A transaction that a build opened is used and left to it. Where none is open, one is opened,
    committed on success and aborted on failure. An open transaction that no build opened was left by a
    killed replica, and is aborted. If that replica still runs, it notices before its next commit, and
    stops.
    """

    def __init__(
        self,
        client: FoundryClient,
        alias: str,
        resource: PipelineResource,
        suffix: str,
        columns: list[Any],
        shape: Shape | None = None,
    ) -> None:
        self.alias = alias
        self._columns = columns
        self._shapes = {alias: shape} if shape else {}
        self._shapes_noted = False
        self.positions = Positions()
        self._datasets = client.datasets.Dataset
        # The client loads this on first use, which takes long: do it before rows wait.
        self._transactions = self._datasets.Transaction
        self._rid = resource.rid
        self._branch = resource.branch or "master"
        self._suffix = suffix
        self._ledgers: list[StreamTarget] = []
        self._transaction: str | None = None
        self._uploading: Future[None] | None = None
        self._rows: Rows | None = None
        self._of_build = False
        self._last: str | None = None
        self._notes: dict[str, dict[str, str]] = {}
        self._marks: dict[tuple[str, str], tuple[int, bool]] = {}

    def keep(self, stream: "StreamTarget", shape: Shape) -> None:
        """Keep the checkpoints of a stream, which has no place for them."""
        self._ledgers.append(stream)
        self._shapes[stream.alias] = shape

    def recover(self) -> None:
        """Read how far this output has come, and use or abort an open transaction."""
        newest = call(self._newest)
        if newest is not None and newest.status == "OPEN":
            self._settle(newest.rid)
        self._last = call(self._newest_committed)
        self._read_names(branch_name=self._branch)
        if self._of_build and self._transaction:
            own = self._transaction
            self._read_names(start_transaction_rid=own, end_transaction_rid=own)
        for alias, shape in self._shapes.items():
            if (path := _shape_path(alias)) in self._notes:
                shape.check(alias, json.loads(self.read_note(path)))

    def _history(self) -> Iterator[Any]:
        """The transactions, the one that was opened last first."""
        return iter(
            self._datasets.Branch.transactions(self._rid, self._branch, page_size=10, preview=True)
        )

    def _newest(self) -> Any:
        """The transaction that was opened last: only that one can be open."""
        return next(self._history(), None)

    def _newest_committed(self) -> str | None:
        """The transaction that was committed last."""
        return next((each.rid for each in self._history() if each.status == "COMMITTED"), None)

    def _settle(self, open_transaction: str) -> None:
        job = call(self._transactions.job, self._rid, open_transaction, preview=True)
        if job is not None:
            log.info("%s: writing into the transaction of %s", self.alias, job)
            self._transaction, self._of_build = open_transaction, True
            return
        log.info("%s: aborting the transaction that a stopped replica left open", self.alias)
        try:
            call(self._transactions.abort, self._rid, open_transaction)
        except errors.TransactionNotOpen:
            log.info("%s: it was closed meanwhile", self.alias)

    def _read_names(self, **view: str) -> None:
        for file in call(lambda: list(self._datasets.File.list(self._rid, **view))):
            folder, _, name = file.path.rpartition("/")
            if not folder:
                self.positions.read(name)
            elif name == SHAPE:
                self._notes[file.path] = view
            elif folder.startswith(f"{CHECKPOINTS}/"):
                alias = folder.removeprefix(f"{CHECKPOINTS}/")
                self._positions(alias).read(name)
            else:
                self._notes[file.path] = view

    def _positions(self, alias: str) -> Positions:
        """Those of this dataset, or of a stream whose checkpoints it keeps."""
        kept = {stream.alias: stream.positions for stream in self._ledgers}
        return kept.get(alias, self.positions)

    def notes(self, folder: str) -> list[str]:
        """The paths of what was noted in a folder of this output, by this or an earlier replica."""
        return [path for path in self._notes if path.startswith(folder)]

    def read_note(self, path: str) -> bytes:
        """The content of a note."""
        content = self._datasets.File.content
        return bytes(call(content, self._rid, path, **self._notes[path]))

    def note(self, path: str, content: bytes) -> None:
        """Keep a file with this output; the next commit makes it visible."""
        self._upload(path, content)

    def write(self, chunk: Chunk, table: Any) -> list[Rejected]:
        """Collect the rows of a chunk into a file; the next commit makes them visible."""
        if len(table):
            if self._rows is None or self._rows.source != chunk.source:
                self._write_rows()
                self._rows = Rows(chunk.source, chunk.start)
            self._rows.add(chunk.stop, table)
            if self._rows.size >= formats.FILE_BYTES:
                self._write_rows()
        self.mark(self.alias, chunk)
        return []

    def mark(self, alias: str, chunk: Chunk) -> None:
        """Note how far a target has come; a build's transaction gets it at once."""
        self._marks[(alias, chunk.source)] = (chunk.stop, chunk.last)
        if self._of_build:
            self.flush()

    def commit(self) -> None:
        """Commit everything since the last commit, rows and checkpoints in one step."""
        self.flush()
        self._wait()
        if self._transaction is None or self._of_build:
            return
        own, self._transaction = self._transaction, None
        try:
            call(self._transactions.commit, self._rid, own)
        except errors.TransactionNotOpen:
            # The retry of a commit whose answer was lost: it is committed already.
            if call(self._transactions.get, self._rid, own).status != "COMMITTED":
                raise self._taken_over() from None
        self._last = own
        self._describe()

    def abort(self) -> None:
        """Drop what was not committed."""
        self._rows = None
        with suppress(Exception):
            self._wait()
        if self._transaction is not None and not self._of_build:
            own, self._transaction = self._transaction, None
            self._transactions.abort(self._rid, own)

    def _write_rows(self) -> None:
        """Upload the collected rows as one file."""
        rows, self._rows = self._rows, None
        if rows is not None:
            name = f"{rows.source}.{rows.start:012d}-{rows.stop:012d}{self._suffix}"
            self._upload(name, formats.write(pa.concat_tables(rows.tables), self._suffix))

    def flush(self) -> None:
        """Upload what waits: rows, and how far each source has come."""
        self._write_rows()
        marks, self._marks = self._marks, {}
        for (alias, source), (stop, last) in marks.items():
            done = ".done" if last else ""
            name = f"{CHECKPOINTS}/{alias}/{source}.{0:012d}-{stop:012d}{done}.json"
            self._upload(name, json.dumps({"source": source, "rows": stop, "done": last}).encode())
            self._positions(alias).note(source, stop, last)

    def _upload(self, path: str, content: bytes) -> None:
        """Upload in the background, one file at a time, while the next batch is processed."""
        if not self._shapes_noted:
            self._shapes_noted = True
            self._note_shapes()
        self._wait()
        self._uploading = UPLOADS.submit(self._send, path, content)

    def _note_shapes(self) -> None:
        for alias, shape in self._shapes.items():
            if (path := _shape_path(alias)) not in self._notes:
                self._upload(path, json.dumps(vars(shape)).encode())

    def _wait(self) -> None:
        """Wait for the current upload, and raise its error."""
        uploading, self._uploading = self._uploading, None
        if uploading is not None:
            uploading.result()

    def _send(self, path: str, content: bytes) -> None:
        if self._transaction is None:
            self._transaction = self._open()
        upload, transaction = self._datasets.File.upload, self._transaction
        try:
            call(upload, self._rid, path, content, transaction_rid=transaction)
        except errors.FileAlreadyExists:
            log.info("%s: %s is there already", self.alias, path)
        except errors.TransactionNotOpen:
            raise self._taken_over() from None

    def _open(self) -> str:
        """Open a transaction; SecondWriter where somebody else has committed since our last one."""
        create: Callable[..., Any] = self._transactions.create
        options = {"transaction_type": "APPEND", "branch_name": self._branch}
        last = self._last
        for _ in range(3):
            try:
                opened = str(call(create, self._rid, **options).rid)
            except errors.OpenTransactionAlreadyExists:
                self.recover()
                if self._transaction is not None:
                    return self._transaction
                continue
            # While this one is open nobody else can commit, so the answer stays true.
            if call(self._newest_committed) == last:
                return opened
            call(self._transactions.abort, self._rid, opened)
            break
        raise self._taken_over()

    def _taken_over(self) -> SecondWriter:
        self._transaction = None
        return SecondWriter(f'another process writes the output "{self.alias}": this one stops')

    def _describe(self) -> None:
        """Give a dataset of Parquet files its schema, so that it opens as a table.

        Also after it was emptied and has other columns now. For CSV the API cannot say that the files
        have a header, which would become a row.
        """
        if self._suffix != ".parquet":
            return
        with suppress(errors.SchemaNotFound):
            found = call(self._datasets.get_schema, self._rid, branch_name=self._branch)
            described = {field.name for field in found.schema_.field_schema_list}
            if described.issuperset(column["name"] for column in self._columns):
                return
        call(
            self._datasets.put_schema,
            self._rid,
            schema={"fieldSchemaList": self._columns},
            branch_name=self._branch,
            dataframe_reader="PARQUET",
        )


def _shape_path(alias: str) -> str:
    return f"{CHECKPOINTS}/{alias}/{SHAPE}"


class StreamTarget:
    """A stream that is written, at least once: a repeated record has the same `record_key`."""

    def __init__(
        self,
        client: FoundryClient,
        alias: str,
        resource: PipelineResource,
        ledger: DatasetTarget,
        shape: Shape,
    ) -> None:
        self.alias = alias
        self.positions = Positions()
        self._shape = shape
        self._stream = client.streams.Dataset.Stream
        self._rid = resource.rid
        self._branch = resource.branch or "master"
        self._ledger = ledger
        ledger.keep(self, shape)

    def check(self) -> None:
        """Raise a SchemaError if the stream's own schema would refuse our records."""
        # A stream without a schema accepts anything. Without permission to read it, a write will tell.
        with suppress(errors_of_streams.InvalidStreamNoSchema, foundry_sdk.PermissionDeniedError):
            found = call(self._stream.get, self._rid, self._branch)
            self._shape.check_stream(self.alias, found.schema_.fields)

    def write(self, chunk: Chunk, table: Any) -> list[Rejected]:
        """Publish the rows of a chunk; returns those that the stream refuses."""
        records = [
            {"record_key": f"{chunk.source}:{chunk.start}:{number}", **row}
            for number, row in enumerate(table.to_pylist())
        ]
        rejected: list[Rejected] = []
        batch: list[dict[str, Any]] = []
        size = 0
        for record in records:
            length = len(json.dumps(record, ensure_ascii=False).encode())
            if batch and (size + length > RECORD_BYTES or len(batch) == PUBLISH_RECORDS):
                rejected += self._publish(batch)
                batch, size = [], 0
            batch.append(record)
            size += length
        rejected += self._publish(batch)
        self._ledger.mark(self.alias, chunk)
        return rejected

    def _publish(self, records: list[dict[str, Any]]) -> list[Rejected]:
        if not records:
            return []
        try:
            call(self._stream.publish_records, self._rid, self._branch, records=records)
        except (foundry_sdk.RequestEntityTooLargeError, foundry_sdk.BadRequestError) as error:
            if len(records) == 1:
                record = records[0]
                reason = f'the stream "{self.alias}" refuses it: {error.name}'
                return [
                    Rejected(reason, record["record_key"], json.dumps(record, ensure_ascii=False))
                ]
            half = len(records) // 2
            return self._publish(records[:half]) + self._publish(records[half:])
        return []


Target = DatasetTarget | StreamTarget
