"""`cm weights`: fills the folder of a model from its origin, and holds it to weights.lock."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.weights.download import Origin, alone, check_space, fetch, receive, space_errors
from foundry_cm.weights.lock import (
    LOCK_VERSION,
    Lock,
    WeightFile,
    WeightsError,
    files_below,
    read_lock,
    sha256_of,
    verify,
)
from foundry_cm.weights.origins import PICKLES, RemoteFile, Resolved, reopen, resolve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCK = "weights.lock"
STRATEGIES = ("baked", "downloaded")

# Given the bytes to come in all, it yields what is to be called with each count that arrived.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Request:
    """The table `[tool.cm.weights]` of a module: which weights, and how they get to the replica."""

    project: Path
    asked: dict[str, Any]
    strategy: str
    where: str

    @property
    def lock(self) -> Path:
        """Where the module keeps its weights.lock."""
        return self.project / LOCK

    @property
    def base(self) -> Path:
        """The folder above the one that the module loads from."""
        return self.project if self.strategy == "baked" else cache_folder()

    @property
    def staging(self) -> Path:
        """Where files wait until all of them are there."""
        return self.base / "models.partial"


@dataclass(frozen=True)
class Pulled:
    """What `pull` did: the lock it keeps to, the folder, and whether the lock is a new one."""

    lock: Lock
    folder: Path
    relocked: bool

    @property
    def pickles(self) -> list[str]:
        """The locked files that run code as they load."""
        return [file.path for file in self.lock.files if file.path.endswith(PICKLES)]


def read_request(project: Path) -> Request:
    """The request for weights in pyproject.toml; raises CmError where there is none."""
    where = project / "pyproject.toml"
    try:
        table = tomllib.loads(where.read_text(encoding="utf-8"))["tool"]["cm"]["weights"]
        asked = {key: value for key, value in table.items() if key != "strategy"}
        strategy = table.get("strategy", "baked")
    except (FileNotFoundError, KeyError, AttributeError):
        raise CmError(
            "This module asks for no weights.",
            where=str(where),
            fix="Add a table [tool.cm.weights] with origin, repo (or url) and revision.",
            code="NoWeights",
            exit_code=USAGE,
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise CmError(
            f"pyproject.toml is not TOML: {error}",
            where=str(where),
            fix="Correct that line.",
            code="BadToml",
            exit_code=USAGE,
        ) from None
    if strategy not in STRATEGIES:
        raise CmError(
            f'There is no strategy "{strategy}".',
            where=str(where),
            fix=near_miss(str(strategy), STRATEGIES),
            code="UnknownStrategy",
            exit_code=USAGE,
        )
    return Request(project, asked, strategy, str(where))


def cache_folder() -> Path:
    """Where a module with the strategy `downloaded` keeps what it downloaded."""
    return Path(os.environ.get("WEIGHTS_CACHE") or Path.home() / ".cache" / "weights")


def folder_of(request: Request, lock: Lock) -> Path:
    """The folder that the module loads from: the image's, or one in the cache of the machine."""
    return request.base / ("models" if request.strategy == "baked" else lock.name)


def check(project: Path) -> Pulled:
    """Hold the files to weights.lock, and the lock to pyproject.toml; raises CmError."""
    request = read_request(project)
    with _told_as_cm_error(request):
        lock = read_lock(request.lock)
        if not _answers(request):
            raise WeightsError(
                "weights.lock was written for other weights than pyproject.toml asks for; "
                "write it anew with `cm weights pull`"
            )
        folder = folder_of(request, lock)
        verify(folder, lock)
    return Pulled(lock, folder, relocked=False)


def pull(project: Path, progress: Progress, *, update: bool = False) -> Pulled:
    """Fill the folder of the model, to the letter of weights.lock where there is one.

    The lock is written where there is none yet, where pyproject.toml asks for something else by
    now, and with `update`, which also follows a branch to where it points today. Nothing changes
    unless everything arrived and was verified. Raises CmError.
    """
    request = read_request(project)
    with _told_as_cm_error(request), alone(request.base, "models"):
        if _answers(request) and not update:
            lock = read_lock(request.lock)
            folder = folder_of(request, lock)
            if not _is_good(folder, lock):
                _fill(request, lock, progress)
            return Pulled(lock, folder, relocked=False)
        resolved = resolve(request.asked, request.where)
        lock = Lock(resolved.origin, _receive_all(resolved, request, progress))
        folder = folder_of(request, lock)
        _swap(request.staging, folder)
        _write_lock(request, lock)
        return Pulled(lock, folder, relocked=True)


@contextmanager
def _told_as_cm_error(request: Request) -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        what, _, fix = str(error).partition("; ")
        what = what[0].upper() + what[1:]
        raise CmError(
            f"{what}.",
            where=request.where,
            fix=f"{fix[0].upper()}{fix[1:]}." if fix else None,
            code="Weights",
        ) from None


def _answers(request: Request) -> bool:
    """Whether weights.lock was written for what pyproject.toml asks for now."""
    try:
        return bool(json.loads(request.lock.read_text(encoding="utf-8"))["asked"] == request.asked)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_good(folder: Path, lock: Lock) -> bool:
    try:
        verify(folder, lock)
    except WeightsError:
        return False
    return True


def _fill(request: Request, lock: Lock, progress: Progress) -> None:
    source, staging, folder = reopen(lock.origin), request.staging, folder_of(request, lock)
    check_space(request.base, lock.size)
    with space_errors(request.base), progress(lock.size) as report:
        for file in lock.files:
            _reuse(folder / file.path, staging / file.path, file)
            fetch(file, source, staging, report)
        _drop_others(staging, {file.path for file in lock.files})
    _swap(staging, folder)


def _reuse(old: Path, new: Path, file: WeightFile) -> None:
    """Copy a file that is already right, so that mending one file does not fetch them all."""
    if old.is_file() and old.stat().st_size == file.size and sha256_of(old) == file.sha256:
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(old, new)


def _receive_all(
    resolved: Resolved, request: Request, progress: Progress
) -> tuple[WeightFile, ...]:
    staging = request.staging
    total = sum(file.size for file in resolved.files)
    check_space(request.base, total)
    with space_errors(request.base), progress(total) as report:
        files = tuple(
            _receive(remote, resolved.source, staging, report)
            for remote in sorted(resolved.files, key=lambda remote: remote.path)
        )
        _drop_others(staging, {file.path for file in files})
    return files


def _receive(
    remote: RemoteFile, source: Origin, staging: Path, report: Callable[[int], None]
) -> WeightFile:
    if remote.sha256:
        file = WeightFile(remote.path, remote.size, remote.sha256)
        fetch(file, source, staging, report)
        return file
    # With no hash to hold them to, bytes of an earlier try are not to be trusted.
    path = staging / remote.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    receive(WeightFile(remote.path, remote.size, ""), source, path, report)
    return WeightFile(remote.path, remote.size, sha256_of(path))


def _drop_others(folder: Path, keep: set[str]) -> None:
    for path in files_below(folder):
        if path not in keep:
            (folder / path).unlink()


def _swap(staging: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_lock(request: Request, lock: Lock) -> None:
    content = {
        "version": LOCK_VERSION,
        "asked": request.asked,
        "origin": lock.origin,
        "files": [asdict(file) for file in lock.files],
    }
    temporary = request.lock.with_name(request.lock.name + ".new")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(request.lock)
