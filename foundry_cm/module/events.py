"""Events as JSON texts: read and checked before the module sees them."""

from __future__ import annotations

import json
from typing import Any

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.depth import is_too_deep
from foundry_cm.module.functions import Function, half_pair


def parse_event(text: str | bytes, where: str) -> Any:
    """The event in a JSON text (UTF-8); raises `CmError` with the line where it is not JSON."""
    try:
        event = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = f"{where}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else where
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        if isinstance(error, RecursionError):
            what = "it is nested too deeply"
        raise _not_json(what, place) from None
    if is_too_deep(event):
        raise _not_json("it is nested too deeply", where)
    return event


def write_event(event: Any) -> bytes:
    """The JSON text of an event; raises `CmError` for one that JSON cannot carry."""
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise CmError(
            f"{half_pair(event)} holds half of a surrogate pair, which is not text",
            code="InvalidEvent",
            exit_code=USAGE,
        ) from None
    except (ValueError, RecursionError):
        raise CmError(
            "The event is not JSON: it holds a number that JSON lacks, or is nested too deeply",
            code="InvalidEvent",
            exit_code=USAGE,
        ) from None


def check_event(function: Function | None, event: Any) -> None:
    """Raise `CmError` where a function would be refused the event; None is a function without types."""
    if function:
        function.check_event(event)


def _not_json(what: str, where: str) -> CmError:
    return CmError(f"The event is not JSON: {what}", where=where, code="NotJson", exit_code=USAGE)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")
