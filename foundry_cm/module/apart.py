"""Reads and checks one large event or result, in a process of its own: `python -m foundry_cm.module.apart`.

Reading JSON holds Python's lock for as long as it takes, a second for each 100 MB or so, and everything
else in the process waits. The header, a line of JSON, says what to do; after it comes the text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from foundry_cm.errors import CmError
from foundry_cm.module.events import check_event, parse_event, write_event
from foundry_cm.module.functions import Function, read_result

# What begins the answer: the result as JSON, or the error.
GOOD, BAD = b"+", b"-"


def pack(task: str, function: Function | None, body: bytes, **more: Any) -> bytes:
    """What the process reads from its standard input."""
    header = {"task": task, "schema": function.schema if function else None, **more}
    return json.dumps(header).encode() + b"\n" + body


def unpack(answer: bytes) -> bytes:
    """The result in what the process wrote; raises the `CmError` in it."""
    if answer[:1] == GOOD:
        return answer[1:]
    if answer[:1] != BAD:
        raise CmError("A large value could not be checked: the process that checks it was killed")
    raise CmError(**json.loads(answer[1:]))


def work(given: bytes) -> bytes:
    """The answer to what was given."""
    line, _, body = given.partition(b"\n")
    header = json.loads(line)
    try:
        function = Function(header["schema"]) if header["schema"] else None
        if header["task"] == "event":
            event = parse_event(body, header["where"])
            write_event(event)
            check_event(function, event)
            return GOOD
        value = read_result(function, body, header["chunks"])
        return GOOD + json.dumps(value).encode()
    except CmError as error:
        told = {
            "what": error.what,
            "where": error.where,
            "fix": error.fix,
            "code": error.code,
            "exit_code": error.exit_code,
            "details": error.details,
        }
        return BAD + json.dumps(told).encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(work(sys.stdin.buffer.read()))
