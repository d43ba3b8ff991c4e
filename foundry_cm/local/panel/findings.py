"""What `cm check` finds, for the banner of the page: looked for in a process of its own, when files change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# How often the files are looked at while a page is open, and for how long after it was seen last.
_LOOK_SECONDS, _OPEN_SECONDS = 1.0, 5.0
# What no check reads, or only as it is in git; so many files are looked at and no more.
_SKIPPED = {
    ".git",
    ".cm",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    "data",
    "outputs",
    "models",
}
_MOST_FILES = 5_000
# How many times as long as a check takes nothing is checked after it.
_REST_TIMES = 2
_LONGEST_SECONDS = 120.0


class Findings:
    """The findings of the static checks, once a page wants to know them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0
        self._shown: dict[str, Any] = {"state": "checking", "findings": []}
        self._task: asyncio.Task[None] | None = None
        self._seen = 0.0

    async def stop(self) -> None:
        """Look no more."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def since(self, version: int) -> tuple[int, Any] | None:
        """What was found; for the live feed, which thereby says that a page is open."""
        self._seen = time.monotonic()
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        return None if version == self._version else (self._version, self._shown)

    async def _look(self) -> None:
        checked: object = None
        while True:
            wait = _LOOK_SECONDS
            if time.monotonic() - self._seen < _OPEN_SECONDS:
                now = await asyncio.to_thread(self._stamp)
                if now != checked:
                    checked = now
                    began = time.monotonic()
                    self._show({**self._shown, "state": "checking"})
                    self._show(await self._check())
                    # A module may write files all the time: the checks get a part of one processor.
                    wait += _REST_TIMES * (time.monotonic() - began)
            await asyncio.sleep(wait)

    def _stamp(self) -> list[tuple[str, int, int]]:
        """The files of the module with their sizes and times: whatever changes changes this."""
        found: list[tuple[str, int, int]] = []
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if name not in _SKIPPED]
            for name in files:
                if name.endswith(".log"):
                    continue
                with contextlib.suppress(OSError):
                    status = os.lstat(os.path.join(folder, name))  # noqa: PTH118  (thousands of them)
                    found.append((name, status.st_size, status.st_mtime_ns))
            if len(found) > _MOST_FILES:
                break
        return found

    def _show(self, what: dict[str, Any]) -> None:
        self._shown, self._version = what, self._version + 1

    async def _check(self) -> dict[str, Any]:
        # -P: the folder of the module is not searched for what this imports.
        command = [sys.executable, "-P", "-m", "foundry_cm", "check", "--format", "json"]
        process = await asyncio.create_subprocess_exec(
            *command,
            "-C",
            str(self._folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), _LONGEST_SECONDS)
            return {"state": "done", **json.loads(out)}
        except ValueError:
            # It has said on the other stream what keeps it from checking, such as a wrong setting.
            told = err.decode("utf-8", "replace").strip()
            return {"state": "failed", "why": told[:2000], "findings": []}
        except TimeoutError:
            return {"state": "failed", "why": "cm check took too long", "findings": []}
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
