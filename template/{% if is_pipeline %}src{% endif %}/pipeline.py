"""The loop of the module; owned by the template: `copier update` replaces this file, so edit app.py instead.

It reads what is new in the inputs, passes it through process() in batches, writes the outputs, and
waits for more. It is killed at any time without losing or doubling a row: see outputs.py.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pyarrow as pa
from compute_modules.resources import get_pipeline_resources

from connection import connect
from formats import PARQUET_ROWS, check_format
from inputs import Chunk, Source, files, partitions
from media import MediaSetError, MediaSource
from outputs import DatasetTarget, SecondWriter, StreamTarget, Target
from records import (
    Rejected,
    SchemaError,
    as_text,
    check_key,
    check_result,
    finite,
    foundry_fields,
    schema_of,
)

__all__ = ["load", "run"]

HEARTBEAT_SECONDS = 60
COMMIT_ROWS = 1_000_000
COMMIT_SECONDS = 60
RECORD_CHARACTERS = 10_000
COUNTED = ("rows in", "rows out", "errors")

logging.basicConfig(
    level=logging.INFO,
    format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    stream=sys.stdout,
)
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger(__name__)

# What wrong code raises, and hardly ever a wrong row.
CODE_FAULTS = (AttributeError, ImportError, NameError, NotImplementedError)


class ProcessFault(Exception):
    """process() itself is wrong: it raises whatever the row is."""


Asset = TypeVar("Asset")
Process = Callable[[Any], Any]


def load(loader: Callable[[], Asset]) -> Asset:
    """Run `loader` once, while the container starts, and log how long it took."""
    began = time.perf_counter()
    asset = loader()
    log.info("%s took %.2f s", getattr(loader, "__name__", "asset"), time.perf_counter() - began)
    return asset


def run(process: Process, reads: type, writes: type) -> None:
    """Turn rows of the class `reads` into rows of the class `writes`, until Foundry stops the container."""
    if "RESOURCE_ALIAS_MAP" not in os.environ:
        sys.exit("This module runs inside Foundry. To run it on this machine: cm run")
    stop = threading.Event()

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        log.info("Stopping on %s", signal.Signals(signum).name)
        stop.set()

    # Process 1 of a container ignores these signals unless it handles them.
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        Pipeline(process, reads, writes, stop).run()
    except ProcessFault as error:
        log.critical("%s", error, exc_info=error.__cause__)
        sys.exit(1)
    except (MediaSetError, SchemaError, SecondWriter) as error:
        sys.exit(f"{type(error).__name__}: {error}")


class Pipeline:
    """Inputs, outputs and counts of one run."""

    def __init__(self, process: Process, reads: type, writes: type, stop: threading.Event) -> None:
        settings = json.loads(
            (Path(__file__).parent / "resources.json").read_text(encoding="utf-8")
        )
        self.process = process
        self.reads = schema_of(reads)
        self.writes = schema_of(writes)
        self.stop = stop
        self.poll_seconds = float(os.environ.get("POLL_SECONDS", settings["poll_seconds"]))
        self.batch_rows = int(settings.get("batch_rows", PARQUET_ROWS))
        self.counts: Counter[str] = Counter()
        self.pending, self.committed = 0, time.monotonic()
        self.inputs = settings["inputs"]
        self.client = connect()
        self.resources = get_pipeline_resources()
        wanted = [*self.inputs, *settings["outputs"], settings["errors"]]
        if missing := [alias for alias in wanted if alias not in self.resources]:
            sys.exit(f"Not configured in Foundry as input or output: {', '.join(missing)}")
        self.errors = self._dataset(settings["errors"], ".jsonl", [])
        self.media = {
            alias: MediaSource(self.client, alias, self.resources[alias], self.errors)
            for alias, kind in self.inputs.items()
            if kind == "media_set"
        }
        self.outputs: list[Target] = []
        columns = foundry_fields(writes)
        kinds = settings["outputs"].values()
        self.writes_json = "stream" in kinds or settings["output_format"] == "jsonl"
        for alias, kind in settings["outputs"].items():
            if kind == "stream":
                check_key(self.writes)
                self.outputs.append(
                    StreamTarget(self.client, alias, self.resources[alias], self.errors)
                )
            else:
                suffix = f".{settings['output_format']}"
                check_format(suffix, self.writes)
                self.outputs.append(self._dataset(alias, suffix, columns))

    def _dataset(self, alias: str, suffix: str, columns: list[Any]) -> DatasetTarget:
        return DatasetTarget(self.client, alias, self.resources[alias], suffix, columns)

    @property
    def datasets(self) -> list[DatasetTarget]:
        """Outputs that commit; the errors come last, for they say how far the streams are."""
        return [
            *(target for target in self.outputs if isinstance(target, DatasetTarget)),
            self.errors,
        ]

    def run(self) -> None:
        """Poll, until told to stop. The process stays alive when there is nothing to do."""
        for target in self.datasets:
            target.recover()
        for source in self.media.values():
            source.recover()
        beat = time.monotonic()
        while not self.stop.is_set():
            before = self.counts.copy()
            self.poll()
            if self.counts != before or time.monotonic() - beat >= HEARTBEAT_SECONDS:
                beat = time.monotonic()
                log.info("Alive: %s", ", ".join(f"{self.counts[name]} {name}" for name in COUNTED))
            self.stop.wait(self.poll_seconds)
        log.info("Stopped")

    def poll(self) -> None:
        """Take in everything that is new, and commit it."""
        try:
            self._look()
            for source in self._sources():
                self._take(source)
                if self.stop.is_set():
                    break
            self._commit()
        except BaseException:
            for target in self.datasets:
                self._abandon(target)
            raise

    def _look(self) -> None:
        """Write down what is new in the media sets, before anything of it is read."""
        for source in self.media.values():
            source.look()
        self._commit()

    def _abandon(self, target: DatasetTarget) -> None:
        try:
            target.abort()
        except Exception:
            log.warning("%s: the transaction stays open; the next start aborts it", target.alias)

    def _sources(self) -> Iterator[Source]:
        yield from self.media.values()
        for alias, kind in self.inputs.items():
            if alias not in self.media:
                resource = self.resources[alias]
                if kind == "stream":
                    yield from partitions(self.client, alias, resource)
                else:
                    yield from files(self.client, alias, resource, self.batch_rows)

    def _take(self, source: Source) -> None:
        """Read one source from where the output that is furthest behind stands."""
        behind = [target for target in self._targets() if not target.positions.done(source.name)]
        if not behind:
            return
        # After a stop between two commits one output is ahead: it gets no row a second time.
        starts = sorted({target.positions.row(source.name) for target in behind})
        for start, stop in zip(starts, [*starts[1:], None], strict=True):
            lacking = [target for target in behind if target.positions.row(source.name) <= start]
            for chunk in source.chunks(self.reads, start, stop):
                # The end of a source needs no commit of its own.
                waited = time.monotonic() - self.committed
                if not chunk.last and (self.pending >= COMMIT_ROWS or waited >= COMMIT_SECONDS):
                    self._commit()
                self._write(chunk, lacking)
                self.pending += chunk.stop - chunk.start
                if self.stop.is_set():
                    return

    def _targets(self) -> list[Target]:
        return [*self.outputs, self.errors]

    def _write(self, chunk: Chunk, lacking: list[Target]) -> None:
        """Process a chunk and give it to every target that lacks it."""
        rows, failed = self._process(chunk)
        if self.writes_json:
            rows, unwritable = finite(rows, chunk.source)
            failed = failed + unwritable
        rejected = chunk.rejected + failed
        for target in lacking:
            if target is not self.errors:
                rejected = rejected + target.write(chunk, rows)
                self.counts["rows out"] += len(rows)
        if self.errors in lacking:
            self.errors.write(chunk, _error_table(rejected))
            self.counts["errors"] += len(rejected)
        self.counts["rows in"] += len(chunk.table) + len(chunk.rejected)

    def _process(self, chunk: Chunk) -> tuple[Any, list[Rejected]]:
        if not len(chunk.table):
            return self.writes.empty_table(), []
        try:
            return check_result(self.process(chunk.table), self.writes), []
        except SchemaError:
            raise
        except Exception as error:
            if isinstance(error, CODE_FAULTS) and self._fails_everywhere(chunk.table, error):
                raise ProcessFault("process() fails for every row, so nothing is read") from error
            log.warning("%s: process() failed and is tried again: %r", chunk.source, error)
        return self._split(chunk, chunk.table, 0)

    def _fails_everywhere(self, table: Any, error: Exception) -> bool:
        """Whether the first, a middle and the last row fail alone at the same line: no row is to blame."""
        for row in {0, len(table) // 2, len(table) - 1}:
            try:
                self.process(table.slice(row, 1))
            except Exception as alone:
                if _line_of(alone) != _line_of(error):
                    return False
            else:
                return False
        return True

    def _split(self, chunk: Chunk, table: Any, first: int) -> tuple[Any, list[Rejected]]:
        """Process ever smaller parts, until the row that fails stands alone."""
        try:
            return check_result(self.process(table), self.writes), []
        except SchemaError:
            raise
        except Exception as error:
            if len(table) == 1:
                reason = f"process() raised {type(error).__name__}: {error}"
                return self.writes.empty_table(), [
                    Rejected(reason, chunk.place(first), as_text(table, 0))
                ]
        half = len(table) // 2
        rows, refused = self._split(chunk, table.slice(0, half), first)
        more_rows, more_refused = self._split(chunk, table.slice(half), first + half)
        return pa.concat_tables([rows, more_rows]), refused + more_refused

    def _commit(self) -> None:
        # The last uploads of one output go on while another one commits.
        for target in reversed(self.datasets):
            target.flush()
        for target in self.datasets:
            target.commit()
        self.pending, self.committed = 0, time.monotonic()


def _line_of(error: Exception) -> tuple[type, int | None]:
    """What was raised, and in which line of code."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return type(error), frames[-1][1] if frames else None


def _error_table(rejected: list[Rejected]) -> Any:
    columns = ("reason", "origin", "record")
    return pa.table(
        {
            name: pa.array([_writable(getattr(each, name)) for each in rejected], pa.string())
            for name in columns
        }
    )


def _writable(text: str) -> str:
    """A text that any file takes: half a surrogate pair is shown by its number."""
    return text[:RECORD_CHARACTERS].encode("utf-8", "backslashreplace").decode()
