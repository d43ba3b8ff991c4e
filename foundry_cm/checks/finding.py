"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: an error fails `cm check`, a warning only with `--strict-exit`, a notice never."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True)
class Edit:
    """Lines of a file and what stands there once it is mended.

    `first` is the first line that goes, `end` the first that stays: where they are the same, `lines`
    are put before that line.
    """

    path: str
    first: int
    end: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something to mend: what it is, the file and line (1 is the first), and how to mend it.

    A check leaves `code` and `name` empty, and `severity` as well unless it is another than the
    check's own: they are filled in as it is run. `edit` is a mend that cannot be wrong. The line of a `secret` is shown nowhere.
    """

    message: str
    path: str
    fix: str
    line: int = 1
    severity: Severity | None = None
    code: str = ""
    name: str = ""
    edit: tuple[Edit, ...] = ()
    secret: bool = False

    @property
    def where(self) -> str:
        """The place as editors and terminals link it."""
        return f"{self.path}:{self.line}"
