"""`cm weights pull`: fills the folder of a model from its origin, and holds it to weights.lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from foundry_cm.module.files import replace_text
from foundry_cm.module.project import Project
from foundry_cm.weights.content import check_content
from foundry_cm.weights.download import (
    Origin,
    alone,
    cache_folder,
    check_space,
    disk_errors,
    download,
    fetch,
    receive,
)
from foundry_cm.weights.folder import ModelFolder
from foundry_cm.weights.lock import (
    LOCK_VERSION,
    PART,
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
    with request.told_as_cm_error():
        if request.is_locked and not update:
            lock = read_lock(request.lock)
            fill = _fill if request.is_baked else _fill_cache
            fill(request, lock, progress)
            return Pulled(lock, request.models(lock), relocked=False)
        resolved = resolve(request.wanted, request.place)
        renew = _renew if request.is_baked else _renew_cache
        lock = renew(request, resolved, progress)
        with disk_errors(request.folder, ""):
            replace_text(request.lock, _text(request, lock))
        return Pulled(lock, request.models(lock), relocked=True)


def _fill(request: Request, lock: Lock, progress: Progress) -> None:
    """Bring models/ to what the lock says; files that are right already stay."""
    folder = ModelFolder(request.folder)
    missing: list[WeightFile] = []
    with folder.opened():
        if not _is_good(folder.path, lock):
            folder.check(file.path for file in lock.files)
            missing += (file for file in lock.files if not folder.has(file))
            size = sum(file.size for file in missing)
            check_space(folder.path, size, "")
            source = reopen(lock.origin, request.folder)
            with progress(size) as report:
                for file in missing:
                    fetch(file, source, folder.staging, report)
        folder.place(missing, lock, _text(request, lock))


def _fill_cache(request: Request, lock: Lock, progress: Progress) -> None:
    """Bring the copy that a replica on this machine takes to what the lock says."""
    with progress(lock.size) as report:
        download(lock, lambda: reopen(lock.origin, request.folder), cache_folder(), report)


def _renew(request: Request, resolved: Resolved, progress: Progress) -> Lock:
    """Bring what the origin has today to models/."""
    folder = ModelFolder(request.folder)
    with folder.opened():
        folder.check(file.path for file in resolved.files)
        check_space(folder.path, resolved.size, "")
        lock = receive_all(resolved, folder.staging, progress)
        folder.place(lock.files, lock, _text(request, lock))
    return lock


def _renew_cache(request: Request, resolved: Resolved, progress: Progress) -> Lock:
    """Bring what the origin has today to the copy that a replica on this machine takes."""
    asked = hashlib.sha256(json.dumps(request.asked, sort_keys=True).encode()).hexdigest()[:16]
    cache = cache_folder()
    staging = cache / f"{asked}.partial"
    with alone(cache, asked), disk_errors(cache):
        check_space(cache, resolved.size)
        lock = receive_all(resolved, staging, progress)
        for path in {*files_below(staging)} - {file.path for file in lock.files}:
            (staging / path).unlink()
        with alone(cache, lock.name):
            target = request.models(lock)
            if target.exists():
                shutil.rmtree(target)
            staging.replace(target)
    return lock


def _is_good(folder: Path, lock: Lock) -> bool:
    try:
        verify(folder, lock)
    except WeightsError:
        return False
    return True


def receive_all(resolved: Resolved, staging: Path, progress: Progress) -> Lock:
    """Bring all files of an origin to `staging`, held to all that it says of them."""
    with progress(resolved.size) as report:
        files = tuple(
            _receive(remote, resolved.source, staging, report)
            for remote in sorted(resolved.files, key=lambda remote: remote.path)
        )
    return Lock(resolved.origin, files)


def _receive(
    remote: RemoteFile, source: Origin, staging: Path, report: Callable[[int], None]
) -> WeightFile:
    """Bring one file to `staging`, held to all that its origin says of it."""
    path = staging / remote.path
    if remote.sha256:
        file = WeightFile(remote.path, remote.size, remote.sha256)
        fetch(file, source, staging, report)
    else:
        # With no hash to hold them to, bytes of an earlier try are not to be trusted.
        part = path.with_name(path.name + PART)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        stated = receive(WeightFile(remote.path, remote.size, ""), source, part, report)
        for algorithm, digest in filter(None, (stated, remote.digest)):
            if (got := _digest_of(part, algorithm)) != digest:
                raise WeightsError(
                    f"{remote.path} from {source.base} has {algorithm} {got} where the origin "
                    f"itself says {digest}",
                    "try again in a while, or choose another origin",
                )
        part.replace(path)
        file = WeightFile(remote.path, remote.size, sha256_of(path))
    check_content(remote.path, path, source.base)
    return file


def _digest_of(path: Path, algorithm: str) -> str:
    if algorithm == "git":  # what git, and so the hub, says of a file: its length and its content
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _text(request: Request, lock: Lock) -> str:
    content = {
        "version": LOCK_VERSION,
        "asked": request.asked,
        "origin": lock.origin,
        "files": [asdict(file) for file in lock.files],
    }
    return json.dumps(content, indent=2) + "\n"
