"""What a caller hears of a call while it runs: the items of a streamed result, and the lines of its log."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from foundry_cm.local.function.jobs import Job, JobQueue, Listener
from foundry_cm.module.functions import Function, read_items

# What was printed before a result was posted lies in the pipe already, and is read a moment later.
_LATE_SECONDS = 0.1
# How a record of the log begins, in a module of the template and in the SDK; other lines go on with it.
_RECORD = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d|\{\"")

# How a module of the template names the job of a line.
_OF_JOB = re.compile(r" \[[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\]: ")
# Pieces that make no whole item by then are none.
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Heard:
    """Who hears: `item` gets each item of a streamed result, `line` each line that the call logs.

    `job` gets the job once the call is queued.
    """

    item: Callable[[Any], None] = lambda _item: None
    line: Callable[[str], None] | None = None
    job: Callable[[Job], None] = lambda _job: None

    def listener(self, function: Function | None) -> Listener:
        """What the queue tells of the job, for a call of this function."""
        kept = bytearray()

        def piece(chunk: bytes) -> None:
            kept.extend(chunk)
            items = read_items(function, bytes(kept))
            if items is not None or len(kept) > _MOST_BYTES:
                kept.clear()
                for item in items or ():
                    self.item(item)

        return Listener(piece, self.line)


class Lines:
    """Finds the lines of each call that somebody listens to among all that a replica prints.

    A line of another call names that one, as modules of the template do. What names none is of the
    call that has the replica to itself, or goes on with the record before it.
    """

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        # Whether the record that was printed last is of the job.
        self._heard: dict[str, tuple[Job, bool]] = {}

    @contextlib.contextmanager
    def of(self, job: Job) -> Iterator[None]:
        """Listen for the lines of a job while the block runs."""
        if job.listener.line:
            self._heard[job.id] = (job, False)
        try:
            yield
        finally:
            self._heard.pop(job.id, None)

    async def late_lines(self, job: Job) -> None:
        """Wait for what was printed before the answer and has not been read yet."""
        if job.listener.line:
            await asyncio.sleep(_LATE_SECONDS)

    def printed(self, replica: int, texts: Sequence[str]) -> None:
        """A replica printed lines."""
        for job, _ in list(self._heard.values()):
            if job.replica != replica or job.listener.line is None:
                continue
            others = [each.id for each in self._jobs.held(replica) if each is not job]
            for text in texts:
                if self._is_of(job, others, text):
                    job.listener.line(text)

    def _is_of(self, job: Job, others: list[str], text: str) -> bool:
        before = self._heard[job.id][1]
        if job.id in text:
            own = True
        elif _OF_JOB.search(text) or any(other in text for other in others):
            own = False
        else:
            own = not others or (before and not _RECORD.match(text))
        self._heard[job.id] = (job, own)
        return own
