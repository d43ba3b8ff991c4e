"""What an update leaves to do, and edits in files that an update would replace.

The template writes checksums of its files, and of the answers, into the answers file.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from foundry_cm.checks.finding import Finding

ANSWERS = ".copier-answers.yml"
_CHECKSUM = re.compile(r"^# sha256 (?P<sum>[0-9a-f]{64}) (?P<file>.+)$")
_SKIPPED = {".git", ".venv", "node_modules", "__pycache__", ".cm"}
_INSTEAD = {
    "src/cmkit/functions/start.py": "do it in src/app.py, at module level or just before start()",
    "src/cmkit/functions/results.py": "convert the value in the handler, before it is returned",
    "src/cmkit/model/weights.py": "load other files in src/app.py, beside the model",
    "src/cmkit/model/device.py": "choose another device in src/app.py, where the model is loaded",
    "src/cmkit/sources.py": "wrap its functions in src/app.py, or answer `sources` anew",
    "src/cmkit/platform.py": "wrap platform() in src/app.py",
    "requirements-template.txt": "put the line into requirements.txt",
}


def conflict_markers(folder: Path) -> Iterator[Finding]:
    """Conflict markers that an update left in a file (Copier ends with code 0 all the same)."""
    for file in _files(folder):
        lines = (folder / file).read_bytes().splitlines()
        starts = [number for number, line in enumerate(lines, 1) if line.startswith(b"<<<<<<< ")]
        if starts and any(line.startswith(b">>>>>>> ") for line in lines):
            for number in starts:
                yield Finding(
                    "An update left a conflict here",
                    file,
                    "Keep what is right of both sides, and delete the lines <<<<<<<, ======= and >>>>>>>.",
                    number,
                )


def rejected_hunks(folder: Path) -> Iterator[Finding]:
    """Files with changes that `copier update --conflict rej` could not apply."""
    for file in _files(folder):
        if file.endswith(".rej"):
            yield Finding(
                f"An update could not apply a change to {file.removesuffix('.rej')}",
                file,
                "Make the change by hand where it still applies, and delete this file.",
            )


def edited_template_files(folder: Path) -> Iterator[Finding]:
    """Files of the template that were edited: the next update changes them under their editor."""
    for file, checksum in _recorded(folder).items():
        path = folder / file
        if (
            file == "answers"
            or not path.is_file()
            or _checksum(path.read_text("utf-8")) == checksum
        ):
            continue
        yield Finding(
            f"{file} belongs to the template and was edited",
            file,
            f"What the edit wanted: {_INSTEAD.get(file, 'do it in a file of yours')}. "
            f"Its text as rendered: git log -p {file}",
        )


def edited_answers(folder: Path) -> Iterator[Finding]:
    """An answers file that was edited by hand: an update takes the edit for the old answer."""
    checksum = _recorded(folder).get("answers")
    if checksum is None:
        return
    lines = (folder / ANSWERS).read_text("utf-8").splitlines()
    if _checksum("\n".join(line for line in lines if not line.startswith("#"))) != checksum:
        yield Finding(
            f"{ANSWERS} was edited by hand: an update would compare with a module that never was",
            ANSWERS,
            f"Undo it (git checkout {ANSWERS}) and change the answer with copier update -d name=value",
        )


def _recorded(folder: Path) -> dict[str, str]:
    """The checksum of each file that the template owns, and of the answers."""
    try:
        lines = (folder / ANSWERS).read_text("utf-8").splitlines()
    except OSError:
        return {}
    matches = filter(None, map(_CHECKSUM.match, lines))
    return {match["file"]: match["sum"] for match in matches}


def _checksum(text: str) -> str:
    return hashlib.sha256((text.strip() + "\n").encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    """The module's text files, as git sees them where it is a repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        found = (path.relative_to(folder) for path in folder.rglob("*"))
        names = [path.as_posix() for path in found if not _SKIPPED & set(path.parts)]
    return sorted({name for name in names if (folder / name).is_file()})
