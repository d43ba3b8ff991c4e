"""`cm weights pull`: fills the folder of a model from its origin, and holds it to weights.lock."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from foundry_cm.module.project import Project
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
from foundry_cm.weights.origins import RemoteFile, Resolved, reopen, resolve
from foundry_cm.weights.request import Pulled, Request

# Given the bytes to come in all, it yields what is to be called with each count that arrived.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def pull(project: Project, progress: Progress, *, update: bool = False) -> Pulled:
    """Fill the folder of the model, to the letter of weights.lock where there is one.

    The lock is written where there is none yet, where pyproject.toml asks for something else by
    now, and with `update`, which also follows a branch to where it points today. Nothing changes
    unless everything arrived and was verified. Raises CmError.
    """
    request = Request.read(project)
    with request.told_as_cm_error(), alone(request.base, "models"):
        if request.is_locked and not update:
            lock = read_lock(request.lock)
            folder = request.models(lock)
            if not _is_good(folder, lock):
                _fill(request, lock, progress)
            return Pulled(lock, folder, relocked=False)
        resolved = resolve(request.asked, request.where)
        lock = Lock(resolved.origin, _receive_all(resolved, request, progress))
        folder = request.models(lock)
        _swap(request.staging, folder)
        _write_lock(request, lock)
        return Pulled(lock, folder, relocked=True)


def _is_good(folder: Path, lock: Lock) -> bool:
    try:
        verify(folder, lock)
    except WeightsError:
        return False
    return True


def _fill(request: Request, lock: Lock, progress: Progress) -> None:
    source, staging, folder = reopen(lock.origin), request.staging, request.models(lock)
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
