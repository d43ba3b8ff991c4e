"""Watching a module's files, and refusing to reload what Python cannot even parse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from foundry_cm.errors import CmError


async def changed_files(folder: Path, stop: asyncio.Event) -> AsyncIterator[list[Path]]:
    """Yield the files that changed together, until `stop` is set."""

    class Sources(DefaultFilter):
        def __call__(self, change: Change, path: str) -> bool:
            parts = Path(path).relative_to(folder).parts
            return super().__call__(change, path) and not any(p.startswith(".") for p in parts)

    async for changes in awatch(
        folder, watch_filter=Sources(), stop_event=stop, debounce=300, step=50
    ):
        yield sorted({Path(path) for _, path in changes})


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
