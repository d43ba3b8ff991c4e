"""What a module asks for in `[tool.foundry-cm.weights]`, and whether it has it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.module.project import Project
from foundry_cm.weights.lock import Lock, WeightsError, read_lock, verify

# Formats that run code of their author while they load.
PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
STRATEGIES = ("baked", "downloaded")


@dataclass(frozen=True)
class Request:
    """Which weights a module asks for, and how they get to the replica."""

    folder: Path
    asked: dict[str, Any]
    strategy: str
    where: str

    @classmethod
    def read(cls, project: Project) -> Request:
        """The request in pyproject.toml; raises CmError where there is none."""
        where = f"{project.folder / 'pyproject.toml'}, [tool.foundry-cm.weights]"
        table = project.options.get("weights")
        if not table:
            raise CmError(
                "This module asks for no weights",
                where=where,
                fix="Add that table, with strategy, origin, repo (or url) and revision.",
                code="NoWeights",
                exit_code=USAGE,
            )
        strategy = table.get("strategy", "baked")
        if strategy not in STRATEGIES:
            raise CmError(
                f'There is no strategy "{strategy}"',
                where=where,
                fix=near_miss(str(strategy), STRATEGIES),
                code="UnknownStrategy",
                exit_code=USAGE,
            )
        asked = {key: value for key, value in table.items() if key != "strategy"}
        return cls(project.folder, asked, strategy, where)

    @property
    def lock(self) -> Path:
        """Where the module keeps its weights.lock."""
        return self.folder / "weights.lock"

    @property
    def base(self) -> Path:
        """The folder above the one that the module loads from."""
        return self.folder if self.strategy == "baked" else cache_folder()

    @property
    def staging(self) -> Path:
        """Where files wait until all of them are there."""
        return self.base / "models.partial"

    @property
    def is_locked(self) -> bool:
        """Whether weights.lock was written for what is asked for now."""
        try:
            content = json.loads(self.lock.read_text(encoding="utf-8"))
            return bool(content["asked"] == self.asked)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def models(self, lock: Lock) -> Path:
        """The folder that the module loads from: the image's, or one in the machine's cache."""
        return self.base / ("models" if self.strategy == "baked" else lock.name)

    @contextmanager
    def told_as_cm_error(self) -> Iterator[None]:
        """Turn a WeightsError into the error that `cm` prints."""
        try:
            yield
        except WeightsError as error:
            raise CmError(
                error.what,
                where=self.where,
                fix=f"{error.fix[0].upper()}{error.fix[1:]}.",
                code="Weights",
            ) from None


@dataclass(frozen=True)
class Pulled:
    """The lock that a module keeps to, its folder, and whether the lock was written just now."""

    lock: Lock
    folder: Path
    relocked: bool

    @property
    def pickles(self) -> list[str]:
        """The locked files that run code as they load."""
        return [file.path for file in self.lock.files if file.path.endswith(PICKLES)]


def cache_folder() -> Path:
    """Where a module with the strategy `downloaded` keeps what it downloaded."""
    return Path(os.environ.get("WEIGHTS_CACHE") or Path.home() / ".cache" / "weights")


def check(project: Project) -> Pulled:
    """Hold the files to weights.lock, and the lock to pyproject.toml; raises CmError."""
    request = Request.read(project)
    with request.told_as_cm_error():
        lock = read_lock(request.lock)
        if not request.is_locked:
            raise WeightsError(
                "weights.lock was written for other weights than pyproject.toml asks for",
                "write it anew with `cm weights pull`",
            )
        folder = request.models(lock)
        verify(folder, lock)
    return Pulled(lock, folder, relocked=False)
