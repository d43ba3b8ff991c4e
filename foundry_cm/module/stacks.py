"""Stacks in what other programs print: Node's of an error that nobody caught, and those of faulthandler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# How Node ends what it prints of such an error.
_NODE_END = re.compile(r"^Node\.js v\d+\.", re.MULTILINE)
_NODE_FRAME = re.compile(
    r"^\s+at (?:(?P<name>.*) \()?(?P<place>\S+?):(?P<line>\d+):\d+\)?(?: \{)?$"
)
_NODE_HEAD = re.compile(r"^(?P<place>\S.*):(?P<line>\d+)$")
_CARET = re.compile(r"\s*\^+\s*")
_ERROR = re.compile(r"^(Uncaught )?(\w+: )*[\w$.]*(Error|Exception|Warning)\b")
_IMPORTED = re.compile(r"imported from (?P<place>\S+)")

_DUMP = re.compile(r"^Fatal Python error: .*$", re.MULTILINE)
_THREAD = re.compile(r"^(Current thread|Thread) 0x.*\(most recent call first\):$")
_THREAD_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.*)$')

Place = tuple[str, int, str]


@dataclass(frozen=True)
class Stack:
    """An error in one line, and its places, the outermost first."""

    summary: str
    frames: list[Place]


def of_node(text: str) -> Stack | None:
    """The error that ended a program in Node; None where none did.

    Node prints the place, the line and a caret, then the error with its frames, the innermost first.
    """
    ends = list(_NODE_END.finditer(text))
    if not ends:
        return None
    lines = text[: ends[-1].start()].splitlines()
    carets = [number for number, line in enumerate(lines) if _CARET.fullmatch(line)]
    above = lines[max(0, carets[-1] - 4) : carets[-1]] if carets else []
    lines = lines[carets[-1] + 1 :] if carets else lines
    frames = [
        _place(match["place"], match["line"], match["name"] or "")
        for match in map(_NODE_FRAME.match, lines)
        if match
    ]
    summary = _summary(lines)
    if match := _IMPORTED.search(summary):
        frames.append((_path(match["place"]), 0, ""))
        summary = summary.removesuffix(f" {match[0]}")
    for head in filter(None, map(_NODE_HEAD.match, above)):
        place = _place(head["place"], head["line"], "")
        if place[:2] not in [frame[:2] for frame in frames]:
            frames.append(place)
    return Stack(summary, frames[::-1])


def _summary(lines: list[str]) -> str:
    """The line that names the error: the first of its kind, or the first that says anything."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith("    at ")]
    named = [line for line in said if _ERROR.match(line)]
    return (named or said or ["failed"])[0].removeprefix("Uncaught ").removesuffix(" {")


def _place(place: str, line: str, name: str) -> Place:
    return _path(place), int(line), name


def _path(place: str) -> str:
    return unquote(urlsplit(place).path) if place.startswith("file://") else place


def of_python(text: str, *, current: bool = False) -> Iterator[list[Place]]:
    """The stacks of all threads that faulthandler wrote, each with its innermost place first.

    `current`: only that of the thread that got the signal.
    """
    dump = _DUMP.search(text)
    if not dump:
        return
    thread: list[Place] | None = None
    for line in text[dump.end() :].splitlines():
        if head := _THREAD.match(line):
            if thread:
                yield thread
            thread = [] if head[1].startswith("Current") or not current else None
        elif thread is not None and (match := _THREAD_FRAME.match(line)):
            thread.append((match["file"], int(match["line"]), match["name"]))
    if thread:
        yield thread
