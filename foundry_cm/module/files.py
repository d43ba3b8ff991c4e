"""Writing files in a module that may have come from a stranger."""

from __future__ import annotations

import secrets
from pathlib import Path


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
