"""weights.lock: the files that a model is made of, and whether a folder holds exactly those."""

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK = 1 << 20
LOCK_VERSION = 1


class WeightsError(Exception):
    """Why there are no usable weights: what is wrong, and what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True)
class WeightFile:
    """One file: its path below the folder (with `/`), its size in bytes, and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Lock:
    """What weights.lock says: where the files come from, and the files."""

    origin: dict[str, str]
    files: tuple[WeightFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """A folder name that changes whenever a file does."""
        listing = json.dumps([[file.path, file.sha256] for file in self.files])
        return hashlib.sha256(listing.encode()).hexdigest()[:16]


def read_lock(path: Path) -> Lock:
    """Read weights.lock; raises WeightsError when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != LOCK_VERSION:
            raise ValueError(f"version {content['version']} is not {LOCK_VERSION}")
        origin = {str(key): str(value) for key, value in content["origin"].items()}
        files = tuple(_file(entry) for entry in content["files"])
        if not files:
            raise ValueError("it lists no files")
    except FileNotFoundError:
        raise WeightsError(f"{path.name} is missing", "write it with `cm weights pull`") from None
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path.name} cannot be read ({error})", "write it anew with `cm weights pull`"
        ) from None
    return Lock(origin, files)


def _file(entry: dict[str, Any]) -> WeightFile:
    path, size, sha256 = entry["path"], entry["size"], entry["sha256"]
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or str(pure) != path:
        raise ValueError(f"the path {path!r} does not stay inside the folder")
    if not isinstance(size, int) or size < 0 or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"size or sha256 of {path!r} is not one")
    return WeightFile(path, size, sha256)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def verify(folder: Path, lock: Lock) -> None:
    """Raise WeightsError unless `folder` holds the files of the lock, unchanged, and no others.

    No others: a stray pickle beside the listed files could be loaded in their place.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is missing", "fill it with `cm weights pull`")
    with ThreadPoolExecutor(max_workers=4) as pool:
        for problem in pool.map(lambda file: _problem(folder, file), lock.files):
            if problem:
                raise WeightsError(problem, "fetch it again with `cm weights pull`")
    listed = {file.path for file in lock.files}
    for path in files_below(folder):
        if path not in listed:
            raise WeightsError(
                f"{folder.name}/{path} is not in weights.lock",
                "delete it, or lock it with `cm weights pull`",
            )


def _problem(folder: Path, file: WeightFile) -> str | None:
    path, name = folder / file.path, f"{folder.name}/{file.path}"
    if not path.is_file():
        return f"{name} is missing"
    if (size := path.stat().st_size) != file.size:
        return f"{name} has {size} bytes where weights.lock says {file.size}"
    if (digest := sha256_of(path)) != file.sha256:
        return f"{name} has SHA-256 {digest} where weights.lock says {file.sha256}"
    return None


def files_below(folder: Path) -> Iterator[str]:
    """The paths of all files below a folder, relative to it and with `/`."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix()
