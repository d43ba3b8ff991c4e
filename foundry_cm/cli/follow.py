"""Starting a module anew when its files change, for the verbs that run one until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from foundry_cm.cli.console import say, show_error
from foundry_cm.errors import CmError
from foundry_cm.module.project import CODE, Project
from foundry_cm.module.watch import changed_files, check_syntax


async def reload_on_change(
    project: Project,
    stop: asyncio.Event,
    restart: Callable[[str], Awaitable[None]],
    *,
    besides: Sequence[str] = (),
    goes_on: str = "goes on answering",
) -> None:
    """Call `restart` with what changed, until `stop` is set; the folders `besides` do not count.

    Outside src/ only code does: a module may write its log or cache beside itself.

    A file that cannot be parsed, and a start that fails, are shown; the watch goes on.
    """
    source, others = project.folder / "src", [project.folder / name for name in besides]

    def counts(file: Path) -> bool:
        if any(file.is_relative_to(other) for other in others):
            return False
        return file.suffix in CODE or file.is_relative_to(source)

    async for changed in changed_files(project.watched, stop):
        if not (files := list(filter(counts, changed))):
            continue
        names = _names(files, project.folder)
        try:
            check_syntax(files)
        except CmError as error:
            show_error(error)
            say(f"The version before this change {goes_on}.")
            continue
        say(f"{names} changed: starting the module anew", "cyan")
        try:
            await restart(f"{names} changed")
        except CmError as error:
            show_error(error)


def _names(files: list[Path], folder: Path) -> str:
    # Editors write beside a file and rename; what is gone already tells nobody anything.
    files = [file for file in files if file.exists()] or files
    shown = ", ".join(os.path.relpath(file, folder) for file in files[:3])
    return shown + (f" and {len(files) - 3} more" if len(files) > 3 else "")
