"""Python tracebacks cut down to the frames that their reader can change."""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+)(, in .*)?$')
_HEAD = "Traceback (most recent call last):"
_FOREIGN = ("site-packages", "dist-packages", "<frozen", "<string>")
_LIBRARY = re.compile(r"[/\\]lib[/\\]python3\.\d+[/\\]")


@dataclass(frozen=True)
class Failure:
    """What failed in one line, the last line of the reader's own code, and the frames above it."""

    summary: str
    where: str | None
    trimmed: str | None


def is_in(text: str) -> bool:
    """Whether a text holds a traceback."""
    return _HEAD in text or any(_FRAME.match(line) for line in text.splitlines())


def read(text: str) -> Failure:
    """The last traceback in a text such as a module's output or the SDK's failure envelope."""
    before, head, body = text.rpartition(_HEAD)
    if not head:
        # Python shows a file that it cannot parse without the heading.
        before, head, body = text.partition('  File "')
        body = head + body
    if not head:
        return Failure(text.strip().rstrip(":"), None, None)
    frames, last = _split(body)
    own = [frame for frame in frames if not _is_foreign(frame[0])]
    shown = own or frames[-1:]
    where = f"{_relative(shown[-1][0])}:{shown[-1][1]}" if shown else None
    summary = last or before.strip() or "failed"
    lines = [f"  {_relative(file)}:{line}{code}" for file, line, code in shown]
    return Failure(summary, where, "\n".join(lines) or None)


def _split(body: str) -> tuple[list[tuple[str, str, str]], str]:
    """The frames of a traceback as (file, line, code), and the exception's own first line."""
    frames: list[tuple[str, str, str]] = []
    last = ""
    for line in body.splitlines():
        match = _FRAME.match(line)
        if match:
            frames.append((match["file"], match["line"], ""))
        elif line.startswith("    ") and frames:
            code = line.strip()
            if code.strip("^~ ") and not frames[-1][2]:
                frames[-1] = (*frames[-1][:2], f"  {code}")
        elif line.strip() and not line.startswith(" "):
            last = line.strip()
            break
    return frames, last


def _is_foreign(file: str) -> bool:
    standard = sysconfig.get_path("stdlib")
    return (
        file.startswith("<")
        or any(part in file for part in _FOREIGN)
        # The template's folder: its frames say less to the module's owner than the call into it.
        or "cmkit" in Path(file).parts
        or file.startswith(standard)
        or bool(_LIBRARY.search(file))
    )


def _relative(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
