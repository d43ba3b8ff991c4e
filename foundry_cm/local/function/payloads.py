"""Events and results on their way through the server: small ones are read here, large ones elsewhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from functools import cached_property
from typing import Any

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.function.jobs import Posted
from foundry_cm.module.apart import pack, unpack
from foundry_cm.module.events import check_event, parse_event, write_event
from foundry_cm.module.functions import Function, read_result

# What is read in this process, within some ten milliseconds; a process of its own costs more than that.
LARGE = 1_000_000
_NOT_READ = object()


class Event:
    """An event: its JSON text, and its value where that is known."""

    def __init__(self, text: bytes, where: str, value: Any = _NOT_READ) -> None:
        self.text = text
        self._where = where
        self._value = value

    @classmethod
    def of(cls, value: Any) -> Event:
        """An event from a value; raises `CmError` for one that JSON cannot carry."""
        return cls(write_event(value), "the event", value)

    @classmethod
    def read(cls, text: bytes, where: str) -> Event:
        """An event from a JSON text; raises `CmError` where a small one is no JSON."""
        if len(text) > LARGE:
            return cls(text, where)
        value = parse_event(text, where)
        write_event(value)
        return cls(text, where, value)

    async def check(self, function: Function | None) -> None:
        """Raise `CmError` where the function would be refused it, or where it is no JSON."""
        if len(self.text) > LARGE:
            await _apart(pack("event", function, self.text, where=self._where))
        else:
            check_event(function, self._value)


class Answer:
    """A result as a JSON value, and as the text of one."""

    def __init__(self, text: bytes | None = None, value: Any = None) -> None:
        self._text = text
        self._given = value

    @classmethod
    async def read(cls, function: Function | None, posted: Posted) -> Answer:
        """The answer in what a replica posted; raises `CmError` as `read_result` does."""
        if len(posted.body) <= LARGE:
            return cls(value=read_result(function, posted.body, posted.chunks))
        return cls(await _apart(pack("result", function, posted.body, chunks=posted.chunks)))

    @cached_property
    def value(self) -> Any:
        """The value; reading a large one takes its time."""
        return self._given if self._text is None else json.loads(self._text)

    @property
    def text(self) -> bytes:
        """The JSON text."""
        return json.dumps(self._given).encode() if self._text is None else self._text


def _start() -> subprocess.Popen[bytes]:
    # -P: the folder of the module is not searched for what this imports.
    command = [sys.executable, "-P", "-m", "foundry_cm.module.apart"]
    # A session of its own: Ctrl-C lets the calls that run come to their end.
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


async def _apart(given: bytes) -> bytes:
    """What the process for large values answers."""
    process = _start()
    try:
        answer, _ = await asyncio.to_thread(process.communicate, given)
    except asyncio.CancelledError:
        process.kill()
        raise
    return unpack(answer)


def event_too_large(size: str, max_bytes: int) -> CmError:
    """The refusal of an event over the limit; `size` is the verb of the sentence, with what is known."""
    return CmError(
        f"The event {size} over the limit of {max_bytes / 1e6:g} MB for one call",
        fix="Send fewer items a call (batch), or pass a reference and let the module fetch the bytes.",
        code="EventTooLarge",
        exit_code=USAGE,
    )
