"""Weights that lie in a folder of this machine, or on a file share that is mounted here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundry_cm.weights.download import Body, TransientError
from foundry_cm.weights.lock import WeightsError, files_below

PIECE = 1 << 20
# What a disk says for good; the rest may pass, as on a share whose server is away.
_FINAL = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class FolderOrigin:
    """Files of a folder, none of which is read through a link that leads out of it."""

    def __init__(self, named: str, module: Path) -> None:
        self.base = named
        self.folder = _folder(named, module.resolve())

    @contextmanager
    def open(self, path: str, start: int, version: str | None = None) -> Iterator[Body]:
        """The bytes of `path` from `start` on."""
        with self._errors(path), self.inside(path).open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(start)
            pieces = iter(lambda: file.read(PIECE), b"")
            yield Body(start, status.st_size, str(status.st_mtime_ns), None, pieces)

    def size(self, path: str) -> int:
        """How large a file is."""
        with self._errors(path):
            return self.inside(path).stat().st_size

    def listed(self) -> list[str]:
        """The paths of all files, without hidden ones."""
        with self._errors("the folder"):
            return list(files_below(self.folder))

    def inside(self, path: str) -> Path:
        """Where a file is; raises WeightsError where a link leads out of the folder."""
        file = self.folder / path
        if not file.resolve().is_relative_to(self.folder):
            raise WeightsError(
                f"{path} in {self.base} is a link that leads out of that folder",
                "copy the folder with what its links lead to (cp -RL), and name the copy",
            )
        return file

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _FINAL as error:
            raise WeightsError(
                f"{what} in {self.base} cannot be read ({error.strerror})",
                "correct `folder` or `files` in pyproject.toml, or make it readable",
            ) from None
        except OSError as error:
            raise TransientError(f"{what} in {self.base} did not arrive ({error})") from None


def _folder(named: str, module: Path) -> Path:
    """The folder that a module names, which is not one where programs keep what is private."""
    try:
        path = Path(named).expanduser()
    except RuntimeError:
        path = Path(named)
    folder = (module / path).resolve()
    common = Path(os.path.commonpath([folder, module])) if folder.drive == module.drive else folder
    parts = {*path.parts, *folder.relative_to(common).parts} - {".", ".."}
    if any(part.startswith(".") for part in parts):
        raise WeightsError(
            f"{named} is a hidden folder, where programs keep what is private",
            "copy the model to another folder, and name that one",
        )
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {named} on this machine" + _mounted(folder),
            "mount the share that has it, or correct `folder` in pyproject.toml",
        )
    return folder


def _mounted(folder: Path) -> str:
    there = next((parent for parent in folder.parents if parent.is_dir()), None)
    return f" ({there} is there)" if there and there != Path(folder.anchor) else ""
