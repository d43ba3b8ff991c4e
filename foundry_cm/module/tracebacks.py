"""Tracebacks of Python and stacks of Node, cut down to the frames that their reader can change."""

from __future__ import annotations

import itertools
import linecache
import re
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

from foundry_cm.module import stacks
from foundry_cm.module.code import is_caught

_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+)(, in (?P<name>.*))?$')
_HEAD = "Traceback (most recent call last):"
# The frames of a group of exceptions stand behind a bar.
_BAR = re.compile(r"^ *[|+] ?", re.MULTILINE)
# How Python says that a function of `atexit` raised, which is where the SDK runs without a start.
_EXIT_HOOK = re.compile(r"(Exception ignored in atexit callback.*|Error in atexit.*)\n\Z")
# What Python writes between the traceback of a cause and that of what followed.
_AFTER = re.compile(
    r"\n(?:(The above exception was the direct cause of the following exception)|"
    r"During handling of the above exception, another exception occurred):\s*\Z"
)
_MOST_CAUSES = 5
_FOREIGN = ("site-packages", "dist-packages", "node_modules", "<frozen", "<string>")
_LIBRARY = re.compile(r"[/\\]lib[/\\]python3\.\d+[/\\]")


@dataclass(frozen=True)
class Frame:
    """One place of a stack: file, line, the function, and the code where it is shown."""

    file: str
    line: int
    name: str = ""
    code: str = ""

    @property
    def where(self) -> str:
        """The place as editors and terminals link it, below the working directory where it lies there."""
        return f"{_relative(self.file)}:{self.line}" if self.line else _relative(self.file)

    @property
    def shown(self) -> str:
        """The place and its code, or its function where the code cannot be read."""
        code = self.code or linecache.getline(self.file, self.line).strip() or self.name
        return f"{self.where}  {code}".rstrip()

    @property
    def is_foreign(self) -> bool:
        """Whether it is of Python, Node, a package or the template: it says less than the call into it."""
        standard = sysconfig.get_path("stdlib")
        return (
            self.file.startswith(("<", "node:", "internal/"))
            or any(part in self.file for part in _FOREIGN)
            or "cmkit" in Path(self.file).parts
            or self.file.startswith(standard)
            or bool(_LIBRARY.search(self.file))
        )


@dataclass(frozen=True)
class Failure:
    """What failed in one line, the last line of the reader's own code, and the frames above it.

    `ends`: nothing can have caught it, so that it ended what runs from the file `entry`. `raised_in`: the
    file of the innermost frame. `fix`: how to mend it, where its cause is known.
    """

    summary: str
    where: str | None
    trimmed: str | None
    ends: bool = False
    entry: str | None = None
    raised_in: str | None = None
    fix: str | None = None


def is_in(text: str) -> bool:
    """Whether a text holds a traceback of Python."""
    return _HEAD in text or any(_FRAME.match(line) for line in text.splitlines())


def read(text: str, causes: int = _MOST_CAUSES) -> Failure:
    """The last traceback in a text such as a module's output or the SDK's failure envelope.

    Below its frames stand the exceptions that led to it, at most so many.
    """
    if "Exception Group Traceback" in text:
        text = _BAR.sub("", text)
    before, head, body = text.rpartition(_HEAD)
    if not head:
        # Python shows a file that it cannot parse without the heading.
        before, head, body = text.partition('  File "')
        body = head + body
    if not head:
        return Failure(text.strip().rstrip(":"), None, None)
    frames, last = _split(body)
    outer = next((frame for frame in frames if not frame.file.startswith("<frozen")), None)
    at_top = outer is not None and outer.name in ("<module>", "") and not _caught(outer)
    summary = last or before.strip() or "failed"
    if at_top and outer:
        failure = _failure(summary, frames, ends=True, entry=outer.file)
    else:
        failure = _failure(summary, frames, ends=bool(_EXIT_HOOK.search(before)))
    between = _AFTER.search(before)
    return _with_cause(failure, before, between, causes - 1) if between and causes else failure


def _with_cause(failure: Failure, before: str, between: re.Match[str], causes: int) -> Failure:
    cause = read(before[: between.start()], causes)
    word = "caused by" if between[1] else "while handling"
    frames = [failure.trimmed, f"{word} {cause.summary}", cause.trimmed]
    return replace(
        failure,
        where=failure.where or cause.where,
        trimmed="\n".join(filter(None, frames)),
    )


def of_end(text: str) -> Failure | None:
    """What ended a program that failed by itself, from its output; None where that is not to be told.

    A traceback that the program wrote of a failure that it caught is no reason.
    """
    if found := stacks.of_node(text):
        return _failure(found.summary, [Frame(*each) for each in found.frames], ends=True)
    if not is_in(text):
        return None
    failure = read(text)
    return failure if failure.ends else None


def of_dump(text: str) -> list[Frame] | None:
    """The reader's own frames that a handler stands in, the outermost first, from what faulthandler wrote.

    Of a thread that the SDK runs only what the SDK has called counts. Empty where no handler was
    entered, None where that cannot be told.
    """
    threads = [[Frame(*place) for place in thread] for thread in stacks.of_python(text)]
    by_sdk = [thread for thread in threads if any(map(_is_of_sdk, thread))]
    for thread in by_sdk or threads:
        called = itertools.takewhile(lambda frame: not _is_of_sdk(frame), thread)
        own = [frame for frame in called if not frame.is_foreign]
        if own:
            return own[::-1]
    return [] if by_sdk else None


def _is_of_sdk(frame: Frame) -> bool:
    return bool({"compute_modules", "cmkit"} & set(Path(frame.file).parts))


def of_crash(text: str) -> list[Frame]:
    """The reader's own frames of the thread that a signal ended, the outermost first."""
    thread = next((each for each in stacks.of_python(text, current=True)), [])
    frames = [Frame(*place) for place in reversed(thread)]
    return [frame for frame in frames if not frame.is_foreign]


def trimmed(frames: list[Frame]) -> str | None:
    """Frames as lines of an error's details."""
    return "\n".join(f"  {frame.shown}" for frame in frames if frame.line) or None


def _failure(summary: str, frames: list[Frame], *, ends: bool, entry: str | None = None) -> Failure:
    own = [frame for frame in frames if not frame.is_foreign]
    inner = frames[-1].file if frames else None
    return Failure(summary, own[-1].where if own else None, trimmed(own), ends, entry, inner)


def _caught(frame: Frame) -> bool:
    return is_caught(Path(frame.file), frame.line)


def _split(body: str) -> tuple[list[Frame], str]:
    """The frames of a traceback, and the exception's own first line."""
    frames: list[Frame] = []
    last = ""
    for line in body.splitlines():
        match = _FRAME.match(line)
        if match:
            frames.append(Frame(match["file"], int(match["line"]), match["name"] or ""))
        elif line.startswith("    ") and frames:
            code = line.strip()
            if code.strip("^~ ") and not frames[-1].code:
                frames[-1] = Frame(frames[-1].file, frames[-1].line, frames[-1].name, code)
        elif line.strip() and not line.startswith(" "):
            last = line.strip()
            break
    return frames, last


def _relative(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
