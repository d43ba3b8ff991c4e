"""Which calls a module is measured with: the events that were asked for, or those that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.errors import USAGE, CmError
from foundry_cm.load.drive import Call
from foundry_cm.load.result import Event
from foundry_cm.local.function.foundry import LocalFoundry
from foundry_cm.local.function.payloads import Event as Payload
from foundry_cm.local.function.payloads import event_too_large


@dataclass(frozen=True)
class Given:
    """An event as it was asked for: `[FUNCTION=]FILE[@WEIGHT]`, already read."""

    event: Event
    payload: Payload

    @classmethod
    def parse(cls, text: str) -> Given:
        """Read `events/search.json`, `search=events/long.json` or either with a weight, `@3`.

        The function is that of the file's name where none is given. Raises `CmError`.
        """
        rest, at, weight = text.rpartition("@")
        try:
            value = float(weight) if at else 1.0
        except ValueError:
            rest, at, value = "", "", 1.0
        if not 0 < value < math.inf:
            raise CmError(
                f'--event "{text}": a weight is a number above 0',
                fix="Such as: --event events/search.json@3",
                exit_code=USAGE,
            )
        function, named, path = (rest if at else text).rpartition("=")
        return cls.read(Path(path), function if named else Path(path).stem, value)

    @classmethod
    def read(cls, file: Path, function: str, weight: float = 1.0) -> Given:
        """The event in a file; raises `CmError` where it cannot be read."""
        try:
            text = file.read_bytes()
        except OSError as error:
            raise CmError(
                f"The event cannot be read: {error.strerror}",
                where=str(file),
                fix=f"Make one: cm event {function} > events/{function}.json",
                exit_code=USAGE,
            ) from None
        event = Event(function=function, origin=str(file), weight=weight)
        return cls(event, Payload.read(text, str(file)))


def chosen(given: Sequence[Given], folder: Path) -> list[Given]:
    """The events that were given, or else those in `events/` of a module.

    Read before the module starts, so that a mistake in one is told at once.
    """
    if given:
        return list(given)
    files = sorted((folder / "events").glob("*.json"))
    return [Given.read(file, file.stem) for file in files]


def calls_of(foundry: LocalFoundry, given: Sequence[Given], *, asked: bool) -> list[Call]:
    """The calls to a module that has declared its functions.

    Files in `events/` that are of no function are passed over, unless they were `asked` for. Where
    none is left, each function gets an event that is made from its types. Raises `CmError`.
    """
    known = foundry.functions
    wanted = [each for each in given if asked or each.event.function in known]
    for each in wanted:
        if len(each.payload.text) > foundry.max_bytes:
            raise event_too_large(f"in {each.event.origin} is", foundry.max_bytes)
    if wanted:
        return [Call(each.event, each.payload) for each in wanted]
    made = [function for function in known.values() if function.inputs]
    if not made:
        raise CmError(
            "There are no events: events/ has none, and no function declares inputs to make one "
            "from",
            fix="Give one: --event FUNCTION=FILE.json",
            code="NoEvents",
            exit_code=USAGE,
        )
    return [
        Call(
            Event(function=function.name, origin="cm event"),
            Payload.of(function.sample_event()),
        )
        for function in made
    ]
