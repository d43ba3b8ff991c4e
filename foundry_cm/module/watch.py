"""Watching a module's files, and refusing to reload what Python cannot even parse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from foundry_cm.errors import CmError

_LOOK_SECONDS = 0.5


async def changed_files(folder: Path, stop: asyncio.Event) -> AsyncIterator[list[Path]]:
    """Yield the files that changed together, until `stop` is set.

    A folder that is moved away and made again, as some checkouts do, stays watched.
    """

    class Sources(DefaultFilter):
        def __call__(self, change: Change, path: str) -> bool:
            parts = Path(path).relative_to(folder).parts
            return super().__call__(change, path) and not any(p.startswith(".") for p in parts)

    while not stop.is_set():
        watched = _identity(folder)
        if watched is None:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        async for changes in awatch(
            folder,
            watch_filter=Sources(),
            stop_event=stop,
            debounce=300,
            step=50,
            rust_timeout=int(_LOOK_SECONDS * 1000),
            yield_on_timeout=True,
        ):
            if changes:
                yield sorted({Path(path) for _, path in changes})
            if _identity(folder) != watched:
                break
        # What changed before it is watched again is not told, so all of it counts as changed.
        if not stop.is_set() and (files := _sources(folder)):
            yield files


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_syntax(files: list[Path]) -> None:
    """Raise `CmError` for the first Python file that cannot be parsed."""
    for file in files:
        if file.suffix != ".py" or not file.is_file():
            continue
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            raise CmError(
                f"{type(error).__name__}: {getattr(error, 'msg', error)}",
                where=f"{file}:{line}",
                code="SyntaxError",
            ) from None
