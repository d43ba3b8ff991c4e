"""The one error type that reaches a person, and how it is printed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

FAILURE = 1
USAGE = 2


class CmError(Exception):
    """Something a person can mend, said in three lines: what, where, how to mend it.

    `exit_code` is 1 when a check, a call or the module failed, and 2 when the request itself was
    wrong. `code` names the kind of error for programs that read it as JSON.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        code: str = "Error",
        exit_code: int = FAILURE,
        details: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.code = code
        self.exit_code = exit_code
        self.details = details

    def again(self) -> CmError:
        """The same error to raise once more: one that is raised twice keeps the frames of both."""
        return CmError(
            self.what,
            where=self.where,
            fix=self.fix,
            code=self.code,
            exit_code=self.exit_code,
            details=self.details,
        )

    def as_json(self) -> dict[str, Any]:
        """The error as the panel's API and `--format json` give it, without empty fields."""
        fields = {
            "code": self.code,
            "message": self.what,
            "where": self.where,
            "fix": self.fix,
            "details": self.details,
        }
        return {key: value for key, value in fields.items() if value is not None}


def near_miss(word: str, known: Iterable[str]) -> str:
    """A sentence that helps with a mistyped name: the nearest known one, or all of them."""
    names = sorted(known)
    if not names:
        return "There are none."
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{close[0]}"?'
    return "Known: " + ", ".join(names) + "."
