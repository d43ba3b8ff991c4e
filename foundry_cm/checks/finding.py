"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something to mend: what it is, the file and line (1 is the first), and how to mend it.

    A notice is only told: it makes no check fail.
    """

    what: str
    file: str
    fix: str
    line: int = 1
    notice: bool = False

    @property
    def where(self) -> str:
        """The place as editors and terminals link it."""
        return f"{self.file}:{self.line}"
