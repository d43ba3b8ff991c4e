"""Restarting a module when its files change, and only then, for the verbs that run one until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from foundry_cm.cli.console import say, show_error
from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.module.watch import Code, changed_files, check_syntax

# A file that is no code and changes more often than that within a minute is written by the module.
_MOST, _SECONDS = 3, 60.0
# How much later than it was written a file may be seen to be.
_LATE = 0.5


async def reload_on_change(
    project: Project,
    stop: asyncio.Event,
    restart: Callable[[str], Awaitable[None]],
    *,
    command: Sequence[str] = (),
    at_rest_since: Callable[[], float | None] = lambda: 0.0,
    besides: Sequence[str] = (),
    goes_on: str = "goes on answering",
    on_refused: Callable[[CmError], None] = lambda _error: None,
) -> None:
    """Call `restart` with what changed, until `stop` is set; the folders `besides` do not count.

    `at_rest_since` says since when the module neither starts nor works: only then does a file count
    that is no code. A file that cannot be parsed, and a start that fails, are shown; the watch goes on.
    `on_refused` hears of such a file.
    """
    try:
        await _reload_on_change(
            project,
            stop,
            restart,
            command=command,
            at_rest_since=at_rest_since,
            besides=besides,
            goes_on=goes_on,
            on_refused=on_refused,
        )
    except OSError as error:
        # Without a word the person would go on to save, and to wonder.
        say(f"cm no longer sees changes: {error}. Restart it to reload again", "yellow")
        await stop.wait()


async def _reload_on_change(
    project: Project,
    stop: asyncio.Event,
    restart: Callable[[str], Awaitable[None]],
    *,
    command: Sequence[str],
    at_rest_since: Callable[[], float | None],
    besides: Sequence[str],
    goes_on: str,
    on_refused: Callable[[CmError], None],
) -> None:
    skipped = [project.folder / name for name in besides]
    code = await asyncio.to_thread(Code, project.folder, project.watched, command)
    others = _Others(project.folder, at_rest_since)
    async for changed in changed_files(project.watched, stop):
        files = [file for file in changed if not any(file.is_relative_to(each) for each in skipped)]
        own, more = await asyncio.to_thread(code.sort, files)
        files = own + others.of_a_person(more)
        if not files:
            continue
        names = _names(files, project.folder)
        try:
            check_syntax(files)
        except CmError as error:
            show_error(error)
            on_refused(error)
            say(f"The version before this change {goes_on}.")
            continue
        say(f"{names} changed: restarting the module", "cyan")
        try:
            await restart(f"{names} changed")
        except CmError as error:
            show_error(error)


class _Others:
    """Files below the source that are no code: a person edits them, or the module writes them."""

    def __init__(self, folder: Path, at_rest_since: Callable[[], float | None]) -> None:
        self._folder = folder
        self._at_rest_since = at_rest_since
        self._counted: defaultdict[Path, list[float]] = defaultdict(list)

    def of_a_person(self, files: list[Path]) -> list[Path]:
        """Those that changed while the module was at rest, and not again and again."""
        return [file for file in files if self._is_at_rest(file) and not self._is_often(file)]

    def _is_at_rest(self, file: Path) -> bool:
        since = self._at_rest_since()
        return since is not None and _written(file) > since + _LATE

    def _is_often(self, file: Path) -> bool:
        now = time.monotonic()
        counted = [when for when in self._counted[file] if now - when < _SECONDS] + [now]
        self._counted[file] = counted
        if len(counted) == _MOST + 1:
            say(
                f"{os.path.relpath(file, self._folder)} changes again and again: as a file of the "
                "module's own, it restarts nothing for a minute"
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
