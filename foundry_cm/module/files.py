"""Files of a module that may have come from a stranger."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from foundry_cm.errors import USAGE, CmError

_IGNORE, _EVERYTHING = ".gitignore", "*\n"


def text_lines(text: str) -> list[str]:
    """The lines of a text as editors, Python and Docker number them: a form feed ends none."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def replace_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a text file in one step: the old text or the new one, never half of either.

    A link in its place is replaced, and not what it leads to. `mode` is its mode before the umask.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(made, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_ignored(folder: Path) -> None:
    """Make a folder of our own in a module: this user's alone, and git sees nothing in it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    replace_text(folder / _IGNORE, _EVERYTHING)


def remove_ignored(folder: Path) -> None:
    """Remove such a folder, unless something else is in it."""
    with contextlib.suppress(OSError):
        if [each.name for each in folder.iterdir()] == [_IGNORE]:
            (folder / _IGNORE).unlink()
            folder.rmdir()


def check_no_link(folder: Path, path: Path) -> None:
    """Raise the `CmError` of a path below a folder that is reached by a link.

    What is written or removed there would be somewhere else.
    """
    reached = folder
    for part in path.relative_to(folder).parts:
        reached /= part
        if reached.is_symlink():
            raise _link(reached, folder, "cm writes nothing through it")


def check_inside(folder: Path, path: Path) -> None:
    """Raise the `CmError` of a path below a folder that leads out of it."""
    if not is_inside(folder, path):
        raise _link(path, folder, "it leads out of the module, so cm does not read it")


def read_inside(folder: Path, path: Path) -> str:
    """The text of a file below a folder.

    Raises the `CmError` of one that leads out of it, that cannot be read, or that is not UTF-8.
    """
    check_inside(folder, path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        unread = error.strerror if isinstance(error, OSError) else None
        raise CmError(
            f"{path.name} cannot be read: {unread}" if unread else f"{path.name} is not UTF-8 text",
            where=str(path),
            fix=None if unread else "Save it as UTF-8.",
            exit_code=USAGE,
        ) from None


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path below a folder stays there when all links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _link(path: Path, folder: Path, why: str) -> CmError:
    shown = path.relative_to(folder).as_posix()
    return CmError(
        f"{shown} is a link: {why}",
        where=str(path),
        fix=f"Put the content into {shown} itself.",
        code="Link",
        exit_code=USAGE,
    )
