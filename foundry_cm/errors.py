"""The one error type that reaches a person, and how it is printed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

FAILURE = 1
USAGE = 2

# What acts on a terminal or an editor and shows nothing: control characters (C0, DEL, C1), the
# other line ends of Unicode, and what turns the direction of text. Half of a surrogate pair is no
# text at all.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")


def printable(text: str, *, lines: bool = False) -> str:
    """A text from anywhere as it may reach a terminal, an annotation or a log.

    Colours are dropped; whatever else a terminal would obey is written out, as JSON writes it. A line
    end is written out as well, unless the text may have several `lines`.
    """
    text = _COLOUR.sub("", text.replace("\r\n", "\n"))
    if not lines:
        text = text.replace("\n", "\\n")
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return "\\r" if match[0] == "\r" else f"\\u{ord(match[0]):04x}"


def annotation(level: str, message: str, **properties: object) -> str:
    """A workflow command of GitHub, such as `::error file=src/app.py,line=3::...`.

    Its own escapes keep the message and each property in their places (GitHub documentation,
    "Workflow commands"; `escapeData` and `escapeProperty` of actions/toolkit).
    """
    named = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{level} {named}::{_data(message)}"


def _data(text: str) -> str:
    return printable(text, lines=True).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


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
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{folded[close[0]]}"?'
    return "Known: " + ", ".join(names) + "."
