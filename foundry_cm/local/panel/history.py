"""The calls that were made: what went in, what came out, how long it took; kept over a restart.

They lie in `.cm/history.jsonl` of the module, one line for each call. The file is this user's alone, and
one that anybody else could have written is not read: a cloned repository may bring one along.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from foundry_cm.errors import CmError
from foundry_cm.module.files import check_no_link, make_ignored, replace_text

FOLDER, FILE = ".cm", "history.jsonl"
MOST_CALLS, MOST_BYTES = 5_000, 48_000_000
# A larger event or result is counted and not kept.
LARGEST = 256_000
_PIECE = 500
# What a list shows of an event.
_SENT = 100


class Call(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One call; times in milliseconds, `event` and `result` as JSON texts."""

    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    function: str
    at: float
    # `running`, `ok` or `failed`.
    state: str = "running"
    milliseconds: float = 0
    queued: float = 0
    handler: float = 0
    transfer: float = 0
    event_bytes: int = 0
    result_bytes: int = 0
    replica: int = -1
    job: str = ""
    # What was changed before it: the calls before and after an edit are to be told apart.
    edit: str = ""
    event: str | None = None
    result: str | None = None
    error: dict[str, Any] | None = None

    def summary(self) -> dict[str, Any]:
        """The call without what may be large."""
        shown = {name: getattr(self, name) for name in _SHOWN}
        message = str(self.error.get("message", "")) if self.error else ""
        sent = " ".join((self.event or "")[:_SENT].split())
        return {**shown, "error": message[:200], "sent": sent}


_SHOWN = tuple(name for name in Call.__struct_fields__ if name not in ("event", "result", "error"))


class History:
    """The last calls, the newest last; `folder` is the module's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: dict[str, Call] = {}
        self._jobs: dict[str, str] = {}
        self._bytes = 0
        # Which call changed last, by a number that goes up; a page asks for what changed since.
        self._changes: deque[tuple[int, str]] = deque(maxlen=_PIECE)
        self._version = 0
        # Of the file, where what has gone from memory still lies.
        self._lines = self._written = 0
        self._read()

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._folder / FOLDER / FILE

    def begin(self, function: str, event: bytes, edit: str = "") -> Call:
        """A call that is made now."""
        call = Call(function=_text(function), at=time.time(), event_bytes=len(event), edit=edit)
        if len(event) <= LARGEST:
            call.event = event.decode("utf-8", "replace")
        self._take(call)
        return call

    def queued(self, call: Call, job: str) -> None:
        """It has a job: what the module prints of that belongs to it."""
        call.job = job
        self._jobs[job] = call.id
        self._changed(call)

    def started(self, call: Call, replica: int) -> None:
        """A replica works on it."""
        call.replica = replica
        self._changed(call)

    def ended(self, call: Call) -> None:
        """It was answered: it is written down."""
        if call.error:
            call.error = {
                key: _text(value) if isinstance(value, str) else value
                for key, value in call.error.items()
            }
        self._bytes += _size(call)
        self._changed(call)
        self._shorten()
        try:
            check_no_link(self._folder, self.path)
            full = self._lines > 2 * MOST_CALLS or self._written > 2 * MOST_BYTES
            if full or not self.path.exists():
                self._rewrite()
            else:
                with self._open(os.O_WRONLY | os.O_APPEND) as file:
                    self._written += file.write(msgspec.json.encode(call) + b"\n")
                self._lines += 1
        except (OSError, CmError):
            # Calls go on where nothing can be kept; what is in memory is shown.
            return

    def get(self, id: str) -> Call | None:
        """The call of an id."""
        return self._calls.get(id)

    def has_job(self, job: str) -> bool:
        """Whether a job is of one of the calls."""
        return job in self._jobs

    def clear(self) -> None:
        """Forget all calls that were answered."""
        for call in [each for each in self._calls.values() if each.state != "running"]:
            self._forget(call.id)
        self._bytes = self._lines = self._written = 0
        self._version += 1
        self._changes.clear()
        with contextlib.suppress(OSError, CmError):
            check_no_link(self._folder, self.path)
            self.path.unlink(missing_ok=True)

    def since(self, version: int) -> tuple[int, Any] | None:
        """The summaries of what changed since a version, or of all calls; for the live feed."""
        if version == self._version:
            return None
        known = self._changes and self._changes[0][0] <= version + 1
        if not known:
            shown = [call.summary() for call in self._calls.values()]
            return self._version, {"all": True, "calls": shown}
        ids = dict.fromkeys(id for number, id in self._changes if number > version)
        calls = [self._calls[id].summary() for id in ids if id in self._calls]
        return self._version, {"all": False, "calls": calls}

    def _take(self, call: Call) -> None:
        self._calls[call.id] = call
        self._changed(call)

    def _changed(self, call: Call) -> None:
        self._version += 1
        self._changes.append((self._version, call.id))

    def _shorten(self) -> None:
        while len(self._calls) > MOST_CALLS or self._bytes > MOST_BYTES:
            self._bytes -= _size(self._forget(next(iter(self._calls))))

    def _forget(self, id: str) -> Call:
        call = self._calls.pop(id)
        self._jobs.pop(call.job, None)
        return call

    def _read(self) -> None:
        with contextlib.suppress(OSError, CmError):
            check_no_link(self._folder, self.path)
            with self._open(os.O_RDONLY) as file:
                lines = file.read(4 * MOST_BYTES).split(b"\n")
                self._written = sum(map(len, lines))
                for line in lines:
                    with contextlib.suppress(ValueError, RecursionError):
                        call = msgspec.json.decode(line, type=Call)
                        self._calls[call.id] = call
                        self._jobs[call.job] = call.id
                        self._bytes += _size(call)
                        self._lines += 1
        self._version += 1
        self._shorten()

    def _rewrite(self) -> None:
        make_ignored(self.path.parent)
        kept = [call for call in self._calls.values() if call.state != "running"]
        lines = [msgspec.json.encode(call).decode() + "\n" for call in kept]
        replace_text(self.path, "".join(lines), mode=0o600)
        self._lines, self._written = len(kept), sum(map(len, lines))

    def _open(self, flags: int) -> Any:
        """The file, where it and its folder are this user's alone; raises `OSError`."""
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        _check_private(os.lstat(self.path.parent), stat.S_IFDIR)
        opened = os.open(self.path, flags)
        try:
            _check_private(os.fstat(opened), stat.S_IFREG)
            return os.fdopen(opened, "rb" if flags & 3 == os.O_RDONLY else "ab")
        except BaseException:
            os.close(opened)
            raise


def _text(text: str) -> str:
    """A text as UTF-8 can carry it: half of a surrogate pair is written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _size(call: Call) -> int:
    return len(call.event or "") + len(call.result or "") + 400


def _check_private(found: os.stat_result, kind: int) -> None:
    if stat.S_IFMT(found.st_mode) != kind:
        raise PermissionError
    # Windows gives a user's files no such mode.
    if sys.platform != "win32" and (
        found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise PermissionError
