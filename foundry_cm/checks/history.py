"""What the last commits of a module added, as far as git can tell in a moment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foundry_cm.module.git import told

_COMMITS = 50
_MOST = 1_000_000
_HUNK = re.compile(r"@@ -\S+ \+(\d+)")


@dataclass
class Added:
    """The lines that a commit added to a file; `numbers` are theirs in the file as it was then."""

    commit: str
    path: str
    lines: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def added(folder: Path) -> Iterator[Added]:
    """What each of the last commits added, the newest first; nothing outside a repository.

    The patch is git's own: a cloned repository may ask for programs to show its files with.
    """
    patch = told(
        folder,
        *(
            "log",
            "-p",
            f"-{_COMMITS}",
            "--unified=0",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
        ),
        *("--no-renames", "--relative", "--format=commit %h", "--", "."),
    )
    commit, found, number = "", None, 0
    for line in (patch or "")[:_MOST].splitlines():
        if line.startswith("commit "):
            commit = line.removeprefix("commit ")
        elif line.startswith("diff --git "):
            if found:
                yield found
            found = None
        elif line.startswith("+++ b/"):
            found = Added(commit, line.removeprefix("+++ b/"))
        elif hunk := _HUNK.match(line):
            number = int(hunk[1])
        elif line.startswith("+") and found:
            found.lines.append(line[1:])
            found.numbers.append(number)
            number += 1
    if found:
        yield found
