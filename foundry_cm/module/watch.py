"""Watching a module's files: which changes are those of its code, and what Python cannot even parse."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from foundry_cm.errors import CmError
from foundry_cm.module import tracebacks
from foundry_cm.module.git import ignored
from foundry_cm.module.project import CODE, NODE, PYTHON

_LOOK_SECONDS = 0.5
_NODE_PROGRAMS = {"node", "npm", "npx", "pnpm", "yarn", "bun", "deno", "tsx", "ts-node"}
# What `cm` itself writes beside the code.
_OWN = {"schema.json"}


async def changed_files(folder: Path, stop: asyncio.Event) -> AsyncIterator[list[Path]]:
    """Yield the files that changed together, until `stop` is set.

    A folder that is moved away and made again, as some checkouts do, stays watched.
    """

    class Sources(DefaultFilter):
        def __call__(self, change: Change, path: str) -> bool:
            parts = Path(path).relative_to(folder).parts
            return super().__call__(change, path) and not any(p.startswith(".") for p in parts)

    polling = False
    while not stop.is_set():
        watched = _identity(folder)
        if watched is None:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        try:
            async for changes in awatch(
                folder,
                watch_filter=Sources(),
                # Its own: it sets the event when it is cancelled, and others wait for `stop`.
                stop_event=asyncio.Event(),
                debounce=300,
                step=50,
                rust_timeout=int(_LOOK_SECONDS * 1000),
                yield_on_timeout=True,
                force_polling=polling or None,
            ):
                if changes:
                    yield sorted({Path(path) for _, path in changes})
                if stop.is_set() or _identity(folder) != watched:
                    break
        except OSError:
            if polling or _identity(folder) is None:
                raise
            # The system watches no more files, as where its limit for inotify is reached.
            polling = True
            continue
        # What changed before it is watched again is not told, so all of it counts as changed.
        if not stop.is_set() and (files := _sources(folder)):
            yield files


def _sources(folder: Path) -> list[Path]:
    return sorted(file for file in _walk(folder) if file.suffix in CODE)


class Code:
    """The code of a module among its files: what it is, and what of it is new.

    A module that writes beside itself, a log or a database, is not to be started again for that.
    """

    def __init__(self, folder: Path, watched: Path, command: Sequence[str]) -> None:
        self._folder = folder
        # In a folder that is for the source alone, what is not code belongs to it as well.
        self._is_source = watched != folder
        self._suffixes = PYTHON | (NODE if _runs_on_node(folder, command) else set())
        self._named = {(folder / word).absolute() for word in command if (folder / word).is_file()}
        self._known = {file: _digest(file) for file in _walk(watched) if self.holds(file)}

    def holds(self, file: Path) -> bool:
        """Whether a file is code: by its suffix, or because the command names it."""
        return file.suffix in self._suffixes or file in self._named

    def sort(self, files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
        """The files that have changed, without those that never count: code, and others of the source."""
        own = {self._folder / name for name in _OWN}
        files = [file for file in files if file not in own and not file.is_dir()]
        skipped = ignored(self._folder, files)
        counted = [file for file in files if file not in skipped]
        code = [file for file in counted if self.holds(file) and self._is_new(file)]
        others = [file for file in counted if not self.holds(file)]
        return code, others if self._is_source else []

    def _is_new(self, file: Path) -> bool:
        """Whether it has another content than when it was seen last."""
        before, now = self._known.get(file), _digest(file)
        self._known[file] = now
        return before != now


def _runs_on_node(folder: Path, command: Sequence[str]) -> bool:
    programs = {Path(word).stem.lower() for word in command}
    return bool(programs & _NODE_PROGRAMS) or (folder / "package.json").is_file()


def _walk(folder: Path) -> Iterable[Path]:
    skipped = {*DefaultFilter.ignore_dirs, "site-packages"}
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in skipped and name[0] != "."]
        yield from (Path(here, name) for name in files)


def _digest(file: Path) -> bytes | None:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None


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
                where=tracebacks.Frame(str(file), line).where,
                code="SyntaxError",
            ) from None
