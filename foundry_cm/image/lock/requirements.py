"""The requirement files that the image installs: what they include, and which indexes they name.

The grammar is that of pip's documentation, "Requirements File Format", as far as a lock depends on it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.files import read_inside
from foundry_cm.module.logins import LOGIN
from foundry_cm.module.requirement_lines import statements

MAIN = "requirements.txt"
# PyTorch has an index of its own; the Dockerfile installs it first, as a layer of its own.
TORCH = "requirements-template-torch.txt"

_OPTION = re.compile(r"(--?[a-z-]+)(?:[\s=]+(.*))?$")
_LONG = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
}
_SHORT = re.compile(r"^(-[ifrce])(?=[^\s=-])")
_INCLUDES = ("--requirement", "--constraint")
# What pip has to be told again, when it installs what was resolved with it.
_SOURCES = ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host")
_VARIABLES = re.compile(r"(\$\{[A-Z0-9_]+\}|git|:)+")


@dataclass(frozen=True)
class Line:
    """A line that says something: where it stands, and what it says without comment and white space."""

    file: str
    number: int
    text: str

    @property
    def where(self) -> str:
        """The place as editors and terminals link it."""
        return f"{self.file}:{self.number}"

    @property
    def option(self) -> tuple[str, str]:
        """The long name of an option and its value; two empty strings for a package."""
        match = _OPTION.match(_SHORT.sub(r"\1 ", self.text))
        if match is None:
            return "", ""
        return _LONG.get(match[1], match[1]), (match[2] or "").strip("\"'")


@dataclass(frozen=True)
class Requirements:
    """The requirement files of a module: those that the image installs, and all that they include."""

    folder: Path
    roots: tuple[str, ...]
    lines: tuple[Line, ...]

    @classmethod
    def read(cls, folder: Path) -> Requirements:
        """Read the files; raises `CmError` where one is missing, or holds a credential."""
        roots = tuple(name for name in (TORCH, MAIN) if (folder / name).is_file())
        if MAIN not in roots:
            raise CmError(
                f"There is no {MAIN}",
                where=str(folder),
                fix="Run this in the module's folder, where the Dockerfile installs it from.",
                code="NoRequirements",
                exit_code=USAGE,
            )
        lines: list[Line] = []
        for root in roots:
            lines += _read(folder, root, {line.file for line in lines})
        for line in lines:
            _check_no_credential(line)
        return cls(folder, roots, tuple(lines))

    def hashes(self) -> dict[str, str]:
        """Each file with the hash of what it says: comments and white space make no difference."""
        files = dict.fromkeys(line.file for line in self.lines)
        said = {file: [line.text for line in self.lines if line.file == file] for file in files}
        return {
            file: hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
            for file, texts in sorted(said.items())
        }

    def sources(self, *, of_torch: bool = False) -> list[str]:
        """The options that name where packages come from, as they are written into the lock.

        PyTorch's index stands beside the one that pip is configured with, whatever its file says:
        it has not everything that the other packages need.
        """
        found: dict[str, None] = {}
        for line in self.lines:
            name, value = line.option
            if name in _SOURCES and (line.file == TORCH or not of_torch):
                beside = line.file == TORCH and name == "--index-url"
                found[f"{'--extra-index-url' if beside else name} {value}".strip()] = None
        return list(found)


def credential(text: str) -> bool:
    """Whether a text holds a name or a password in an address; a variable in its place is none."""
    return any(not _VARIABLES.fullmatch(found) for found in LOGIN.findall(text))


def _read(folder: Path, name: str, seen: set[str]) -> Iterator[Line]:
    """The lines of a file and of those that it includes, each file once."""
    seen.add(name)
    path = folder / name
    for number, text in statements(read_inside(folder, path)):
        line = Line(name, number, text)
        yield line
        option, value = line.option
        if option in _INCLUDES:
            included = (path.parent / value).resolve()
            if not included.is_file() or not included.is_relative_to(folder.resolve()):
                raise CmError(
                    f"{value} is not a file of this module",
                    where=line.where,
                    fix="Use a file in this folder: the image is built from it alone.",
                    code="Requirements",
                    exit_code=USAGE,
                )
            inner = included.relative_to(folder.resolve()).as_posix()
            if inner not in seen:
                yield from _read(folder, inner, seen)


def _check_no_credential(line: Line) -> None:
    if credential(line.text):
        raise CmError(
            "An address contains a credential that everyone with access to this repository can "
            "read",
            where=line.where,
            fix="Revoke it. Then write ${VARIABLE} in its place, or put the index into pip.conf.",
            code="Credential",
            exit_code=USAGE,
        )
