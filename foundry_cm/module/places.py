"""Where a value stands in a file that a person wrote: the file, its line, and the keys to it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError


@dataclass(frozen=True)
class Place:
    """A value in a TOML or JSON file, by the keys that lead to it."""

    file: Path
    keys: tuple[str, ...] = ()

    def below(self, *keys: str) -> Place:
        """A place further in."""
        return Place(self.file, (*self.keys, *keys))

    def __str__(self) -> str:
        """As an error shows it: `pyproject.toml:14, [tool.foundry-cm.weights] revision`."""
        line = next(filter(None, map(self._line, range(len(self.keys), 0, -1))), None)
        at = f"{self.file}:{line}" if line else str(self.file)
        if self.file.suffix == ".toml" and len(self.keys) > 1:
            return f"{at}, [{'.'.join(self.keys[:-1])}] {self.keys[-1]}"
        return ", ".join(filter(None, (at, ".".join(self.keys))))

    def error(self, what: str, fix: str | None = None, code: str = "Settings") -> CmError:
        """The error that names this place."""
        return CmError(what, where=str(self), fix=fix, code=code, exit_code=USAGE)

    def _line(self, depth: int) -> int | None:
        """The line on which the first `depth` keys begin; None where that is not sure."""
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        keys = self.keys[:depth]
        named = [number for number, line in enumerate(lines, 1) if keys[-1] in line]
        if self.file.suffix == ".toml":
            return next((number for number in named if _begins(lines, number, keys)), None)
        quoted = [number for number in named if json.dumps(keys[-1]) in lines[number - 1]]
        return quoted[0] if len(quoted) == 1 else None


def read_file(file: Path) -> Any:
    """The value of a TOML or JSON file; raises `CmError` with the line for one that is not.

    A key that a JSON object has twice is refused: all but its last value would be lost.
    """
    form, fix = file.suffix.removeprefix(".").upper(), None
    try:
        text = file.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            fix = "Save it as UTF-8 without a byte order mark (BOM)."
            raise ValueError("it begins with a byte order mark")
        if form == "TOML":
            return tomllib.loads(text)
        return json.loads(text, object_pairs_hook=each_key_once)
    except OSError as error:
        what, line = f"{file.name} cannot be read: {error.strerror}", None
    except UnicodeDecodeError:
        what, line, fix = f"{file.name} is not UTF-8 text", None, "Save it as UTF-8."
    except (ValueError, RecursionError) as error:
        what, line = f"{file.name} is not {form}: {error}", _line_of_fault(error)
    where = f"{file}:{line}" if line else str(file)
    # So Python's own reader says it.
    if "Cannot overwrite a value" in what:
        fix = "A key stands there for the second time: keep one of the two lines."
    raise CmError(what, where=where, fix=fix, code="Settings", exit_code=USAGE)


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its pairs; raises `ValueError` for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f'it has the key "{twice}" twice')
    return found


def _line_of_fault(error: Exception) -> int | None:
    # tomllib gives the line as a number from Python 3.14 on.
    if isinstance(error, json.JSONDecodeError):
        return error.lineno
    match = re.search(r"\(at line (\d+), ", str(error))
    return int(match[1]) if match else None


def _begins(lines: list[str], number: int, keys: Sequence[str]) -> bool:
    """Whether the statement on a line is the one that brings a key into the document."""
    for end in range(number, len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # the statement goes on in the next line
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                return False
            found = found[key]
        return True
    return False
