"""models/: filled in place, so that what `cm weights pull` did not make there stays untouched.

A module may come from a stranger. What is replaced or removed is only what an earlier pull wrote
(`models/.weights.lock` lists it), reached without a link; but models/ itself may be a link that its
owner made, to a larger disk.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from foundry_cm.module.files import replace_text
from foundry_cm.weights.download import alone, disk_errors
from foundry_cm.weights.lock import (
    Lock,
    WeightFile,
    WeightsError,
    files_below,
    read_lock,
    sha256_of,
)

RECEIPT = ".weights.lock"


class ModelFolder:
    """The folder that the image carries, and `.partial` in it, where files arrive."""

    def __init__(self, module: Path) -> None:
        self.path = module / "models"
        self.staging = self.path / ".partial"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder where there is none, and keep other processes out; raises WeightsError."""
        if self.path.is_symlink():
            self._check_link()
        with alone(self.path, "pull", ""), disk_errors(self.path, ""):
            for path in (self.staging, *self.staging.rglob("*")):
                self._refuse_link(path)
            self.staging.mkdir(exist_ok=True)
            try:
                yield
            finally:
                _remove_if_empty(self.staging)

    def made(self) -> dict[str, WeightFile]:
        """What the last pull left here, by path."""
        receipt = self.path / RECEIPT
        if receipt.is_symlink() or not receipt.is_file():
            return {}
        try:
            return {file.path: file for file in read_lock(receipt).files}
        except WeightsError:
            return {}

    def has(self, file: WeightFile) -> bool:
        """Whether a file is here as it has to be."""
        return _is(file, self.path / file.path)

    def check(self, paths: Iterable[str]) -> None:
        """Raise WeightsError for a file that is in the way of these, and that no pull has made."""
        wanted, made = set(paths), self.made()
        for path in sorted({*wanted, *made}):
            for part in (Path(path), *Path(path).parents):
                if part.name:
                    self._refuse_link(self.path / part)
        for path in files_below(self.path):
            if path not in made and path not in wanted:
                raise WeightsError(
                    f"models/{path} is not a file that `cm weights pull` downloads",
                    "move it elsewhere: it could be loaded in place of one that is",
                    str(self.path / path),
                )

    def place(self, arrived: Sequence[WeightFile], lock: Lock, text: str) -> None:
        """Move what has arrived to where the module loads it, and remove what is asked for no more.

        `text` is what is written of the lock. Raises WeightsError, before anything moves, for a file that a
        person put where one of these belongs.
        """
        made = self.made()
        for file in arrived:
            target = self.path / file.path
            if target.exists() and file.path not in made and not _is(file, target):
                raise WeightsError(
                    f"models/{file.path} already exists, and is not from `cm weights pull`",
                    "move it elsewhere",
                    str(self.path / file.path),
                )
        for file in arrived:
            target = self.path / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.staging / file.path).replace(target)
        listed = {file.path for file in lock.files}
        for path, old in made.items():
            if path not in listed and _is(old, self.path / path):
                (self.path / path).unlink()
                _remove_if_empty((self.path / path).parent)
        replace_text(self.path / RECEIPT, text)
        shutil.rmtree(self.staging, ignore_errors=True)

    def _check_link(self) -> None:
        target = self.path.resolve()
        if not target.is_dir():
            raise WeightsError(
                f"{self.path} is a link, and {target} is not a folder",
                "make that folder first",
                str(self.path),
            )
        if _is_tracked(self.path):
            raise WeightsError(
                f"{self.path} is a link that came with the repository",
                "take it out (git rm --cached models), and link to a folder of your own",
                str(self.path),
            )
        known = (self.staging, self.path / RECEIPT)
        if not any(map(Path.exists, known)) and any(target.iterdir()):
            raise WeightsError(
                f"{self.path} is a link to {target}, which holds other files than pulled weights",
                "link to an empty folder",
                str(self.path),
            )

    def _refuse_link(self, path: Path) -> None:
        if path.is_symlink():
            raise WeightsError(
                f"{path} is a link, and may lead out of the module",
                "move it elsewhere; only models itself can be a link",
                str(path),
            )


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _is(file: WeightFile, path: Path) -> bool:
    """Whether a path holds exactly that file."""
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _is_tracked(path: Path) -> bool:
    listed = ["git", "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", path.name]
    try:
        done = subprocess.run(listed, cwd=path.parent, capture_output=True, check=False)
    except OSError:
        return False  # no git here
    return done.returncode == 0
