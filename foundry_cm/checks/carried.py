"""The template that belongs to this foundry-cm: an archive in its wheel, or the checkout it runs from.

The build hook runs `archive()` as well, where nothing is installed yet: standard library only.
"""

from __future__ import annotations

import re
import subprocess
import zipfile
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path

IN_WHEEL = "foundry_cm/template.zip"
_ROOT = Path(__file__).parents[2]


def archive(repository: Path) -> bytes | None:
    """The template as git has it at HEAD, in a folder named by `git describe`; None without git.

    Git writes the commit into the archive's comment.
    """
    # Unpacked below another repository, git would describe that one.
    if not (repository / ".git").exists():
        return None

    def git(*words: str) -> bytes:
        return subprocess.run(
            ("git", *words), cwd=repository, check=True, capture_output=True
        ).stdout

    try:
        version = git("describe", "--tags", "--always").decode().strip()
        return git(
            "archive",
            "--format=zip",
            f"--prefix={version}/",
            "HEAD",
            "--",
            ".",
            ":!tests",
            ":!docs",
        )
    except (OSError, subprocess.CalledProcessError):
        return None


@dataclass(frozen=True)
class Carried:
    """A template at one commit."""

    content: bytes

    @cached_property
    def version(self) -> str:
        """The commit as `git describe` names it, and Copier writes it into a module."""
        with zipfile.ZipFile(BytesIO(self.content)) as archive:
            return archive.namelist()[0].partition("/")[0]

    def is_at(self, commit: str) -> bool:
        """Whether this is the commit of a module's answers: its tag, or the digits that name it."""
        digits = re.search(r"(?:^|-g)([0-9a-f]{4,40})$", commit)
        with zipfile.ZipFile(BytesIO(self.content)) as archive:
            whole = archive.comment.decode()
        return commit == self.version or bool(digits and whole.startswith(digits[1]))

    def unpack(self, folder: Path) -> Path:
        """Write the template below a folder; gives the template's own folder."""
        with zipfile.ZipFile(BytesIO(self.content)) as archive:
            archive.extractall(folder)
        return folder / self.version


@cache
def find() -> Carried | None:
    """The template of this foundry-cm; None where it was built without git."""
    file = _ROOT / IN_WHEEL
    content = file.read_bytes() if file.is_file() else archive(_ROOT)
    return Carried(content) if content else None
