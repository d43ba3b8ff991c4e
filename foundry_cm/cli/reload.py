"""Starting the module of `cm serve` anew when its files change, and only then."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path

from foundry_cm.cli.console import say, show_error
from foundry_cm.errors import CmError
from foundry_cm.local.function.foundry import GRACE_SECONDS, LocalFoundry
from foundry_cm.module.project import Project
from foundry_cm.module.watch import Code, changed_files, check_syntax

# A file that is no code and changes more often than that within a minute is written by the module.
_MOST, _SECONDS = 3, 60.0
# How much later than it was written a file may be seen to be.
_LATE = 0.5


async def reload(foundry: LocalFoundry, project: Project, stop: asyncio.Event) -> None:
    """Start the module anew whenever its code changes, until `stop` is set."""
    code = await asyncio.to_thread(Code, project.folder, project.watched, foundry.settings.command)
    others = _Others(foundry, project.folder)
    async for files in changed_files(project.watched, stop):
        changed, more = await asyncio.to_thread(code.sort, files)
        changed += others.of_a_person(more)
        if not changed:
            continue
        names = _names(changed, project.folder)
        try:
            check_syntax(changed)
        except CmError as error:
            show_error(error)
            say("The version before this change goes on answering.")
            continue
        once = f", once {_calls(foundry.running)} answered" if foundry.running else ""
        say(f"{names} changed: starting the module anew{once}", "cyan")
        try:
            await foundry.reload(f"{names} changed")
        except CmError as error:
            show_error(error)


async def drain(foundry: LocalFoundry, stop: asyncio.Event) -> None:
    """Let the calls that run come to their end; who is told to stop a second time does so at once."""
    if not foundry.running:
        say("stopping")
        return
    say(
        f"stopping once {_calls(foundry.running)} answered, in {GRACE_SECONDS:g} s at most; "
        "Ctrl-C stops at once"
    )
    stop.clear()
    ended = [asyncio.create_task(foundry.drain()), asyncio.create_task(stop.wait())]
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    for waiting in ended:
        waiting.cancel()


class _Others:
    """Files below the source that are no code: a person edits them, or the module writes them."""

    def __init__(self, foundry: LocalFoundry, folder: Path) -> None:
        self._foundry = foundry
        self._folder = folder
        self._counted: defaultdict[Path, list[float]] = defaultdict(list)

    def of_a_person(self, files: list[Path]) -> list[Path]:
        """Those that changed while the module was at rest, and not again and again."""
        return [file for file in files if self._is_at_rest(file) and not self._is_often(file)]

    def _is_at_rest(self, file: Path) -> bool:
        since = self._foundry.at_rest_since()
        return since is not None and _written(file) > since + _LATE

    def _is_often(self, file: Path) -> bool:
        now = time.monotonic()
        counted = [when for when in self._counted[file] if now - when < _SECONDS] + [now]
        self._counted[file] = counted
        if len(counted) == _MOST + 1:
            say(
                f"{os.path.relpath(file, self._folder)} changes again and again: as a file of the "
                "module's own, it starts nothing anew for a minute"
            )
        return len(counted) > _MOST


def _written(file: Path) -> float:
    try:
        found = file.stat()
    except OSError:
        # It is gone, and nobody can tell since when.
        return time.time()
    return max(found.st_mtime, found.st_ctime)


def _names(files: list[Path], folder: Path) -> str:
    # Editors write beside a file and rename; what is gone already tells nobody anything.
    files = [file for file in files if file.exists()] or files
    shown = ", ".join(os.path.relpath(file, folder) for file in files[:3])
    return shown + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _calls(number: int) -> str:
    return "1 call is" if number == 1 else f"{number} calls are"
