"""Files of a module that may have come from a stranger."""

from __future__ import annotations

import secrets
from pathlib import Path

from foundry_cm.errors import USAGE, CmError


def replace_text(path: Path, text: str) -> None:
    """Replace a text file in one step: the old text or the new one, never half of either.

    A link in its place is replaced, and not what it leads to.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path below a folder stays there when all links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _link(path: Path, folder: Path, why: str) -> CmError:
    shown = path.relative_to(folder).as_posix()
    return CmError(
        f"{shown} is a link: {why}",
        where=str(path),
        fix=f"Put what you mean into {shown} itself.",
        code="Link",
        exit_code=USAGE,
    )
