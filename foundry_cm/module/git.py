"""What git says of a module's folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from foundry_cm.errors import USAGE, CmError

_UNWATCHED = ("-c", "core.fsmonitor=false")


def git(folder: Path, *words: str) -> str | None:
    """What git prints in a folder; None where it fails, as it does outside a repository.

    A repository's own program for watching files stays off.

    Raises `CmError` where git does not start, and where it refuses a folder of another user's:
    there is a repository then, and to go on as if there were none would tell wrong things.
    """
    try:
        done = subprocess.run(
            ("git", *_UNWATCHED, *words),
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise CmError(
            f"git does not start: {error.strerror}",
            fix="Install git, and see that it is on the PATH.",
            code="NoGit",
        ) from error
    if "dubious ownership" in done.stderr:
        raise CmError(
            "git refuses this folder: it belongs to another user",
            where=str(folder),
            fix=f'git config --global --add safe.directory "{_top(folder)}"',
            code="GitRefuses",
            exit_code=USAGE,
        )
    return done.stdout.rstrip() if done.returncode == 0 else None


def told(folder: Path, *words: str) -> str | None:
    """What git prints in a folder; None also where git is not installed, for it is not needed there."""
    try:
        return git(folder, *words)
    except CmError as error:
        if error.code == "NoGit":
            return None
        raise


def ignored(folder: Path, paths: Iterable[Path]) -> set[Path]:
    """Those of some paths that git ignores in a folder; none where there is no repository, or no git."""
    # NUL ends each path in both directions.
    asked = "\0".join(map(str, paths))
    if not asked:
        return set()
    try:
        done = subprocess.run(
            ("git", *_UNWATCHED, "check-ignore", "--stdin", "-z"),
            cwd=folder,
            input=os.fsencode(asked),
            capture_output=True,
            check=False,
        )
    except OSError:
        return set()
    return {Path(os.fsdecode(path)) for path in done.stdout.split(b"\0") if path}


def _top(folder: Path) -> str:
    """The repository's folder as git compares it: the nearest one with a `.git`."""
    around = (path for path in (folder, *folder.parents) if (path / ".git").exists())
    return next(around, folder).as_posix()
