"""weights.lock: the files of a model, and whether a folder has exactly these."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LOCK_VERSION = 1
PART = ".part"

_CHUNK = 1 << 20
_HEX = re.compile("[0-9a-f]{64}")
# Names of devices, which Windows has in every folder and with every suffix.
_DEVICE = re.compile(r"(aux|con|nul|prn|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# Files that desktops write into folders; names that begin with a dot are ignored too.
_LITTER = {"desktop.ini", "icon\r", "thumbs.db"}


class WeightsError(Exception):
    """Why there are no usable weights: what is wrong, how to mend it, and where.

    Without `where` it is about the origin.
    """

    def __init__(self, what: str, fix: str, where: str | None = None) -> None:
        super().__init__(f"{what}; {fix}")
        self.what = what
        self.fix = fix
        self.where = where


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
    """Read weights.lock; raises WeightsError when it is missing, damaged or leads elsewhere."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != LOCK_VERSION:
            raise ValueError(f"version {content['version']} is not {LOCK_VERSION}")
        files = tuple(_file(entry) for entry in content["files"])
        if not files:
            raise ValueError("it lists no files")
        if problem := paths_problem(file.path for file in files):
            raise ValueError(problem)
        origin = _origin(content["origin"])
    except FileNotFoundError:
        raise WeightsError(
            f"{path.name} is missing", "write it with `cm weights pull`", str(path)
        ) from None
    except (AttributeError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise WeightsError(
            f"{path.name} cannot be read ({error})",
            "write it again with `cm weights pull`",
            str(path),
        ) from None
    return Lock(origin, files)


def _file(entry: dict[str, Any]) -> WeightFile:
    path, size, sha256 = str(entry["path"]), entry["size"], entry["sha256"]
    if type(size) is not int or size < 0 or not _HEX.fullmatch(sha256):
        raise ValueError(f"size or sha256 of {path!r} is not one")
    return WeightFile(path, size, sha256)


def _origin(entry: dict[str, Any]) -> dict[str, str]:
    origin = {str(key): str(value) for key, value in entry.items()}
    if origin["kind"] == "foundry":
        origin["dataset"], origin["transaction"]  # a KeyError names the one that is missing
    elif origin["kind"] == "folder":
        origin["folder"]
    elif problem := url_problem(origin["url"]):
        raise ValueError(f"the url of its origin {problem}")
    return origin


def paths_problem(paths: Iterable[str]) -> str | None:
    """Why weights cannot have these paths, or None.

    A path has to be relative, stay in its folder, and be the same file on every system. All names are
    checked here: those of settings, of origins and of weights.lock.
    """
    spelled: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if problem := _path_problem(path):
            return f"the path {path!r} {problem}"
        parts = path.split("/")
        # The folders from the outermost on, and the file itself.
        *above, whole = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        for name in (*above, whole):
            if (first := spelled.setdefault(_folded(name), name)) != name:
                return f"{first!r} and {name!r} are one name on some systems"
        folders.update(above)
        if whole in files:
            return f"{whole!r} is there twice"
        files.add(whole)
    if both := files & folders:
        return f"{min(both)!r} is a file and a folder at once"
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _path_problem(path: str) -> str | None:
    parts = path.split("/")
    if not path.isprintable():
        return "has a character that cannot be printed"
    if "\\" in path or ":" in path or any(part in ("", ".", "..") for part in parts):
        return "does not stay inside the folder"
    if any(part[0] == "." for part in parts) or path.lower().endswith(PART):
        return f"begins with a dot or ends in {PART}, as files do that are not weights"
    if any(
        part[-1] in ". " or _DEVICE.fullmatch(part) or len(part.encode()) > 240 for part in parts
    ):
        return "is no name of a file on every system"
    return None


def url_problem(url: str) -> str | None:
    """Why weights cannot come from an address, or None. It does not repeat the address."""
    try:
        split = urlsplit(url)
        split.port  # noqa: B018  (raises ValueError for one that is none)
    except ValueError:
        return "is not an https address"
    if split.scheme != "https" or not split.hostname:
        return "is not an https address"
    if "@" in split.netloc:
        return "holds a user name or a password"
    if "?" in url or "#" in url or "\\" in url or " " in url or not url.isprintable():
        return "has more in it than a host and a path"
    return None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def verify(folder: Path, lock: Lock) -> None:
    """Raise WeightsError unless `folder` holds the files of the lock, unchanged, and no others.

    No others: a stray pickle beside the listed files could be loaded in their place.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is missing", "fill it with `cm weights pull`", str(folder))
    with ThreadPoolExecutor(max_workers=4) as pool:
        for problem in pool.map(lambda file: _problem(folder, file), lock.files):
            if problem:
                raise WeightsError(problem, "fetch it again with `cm weights pull`", str(folder))
    listed = {file.path for file in lock.files}
    for path in files_below(folder):
        if path not in listed:
            raise WeightsError(
                f"{folder.name}/{path} is not in weights.lock",
                "move it elsewhere: it could be loaded in place of a file that is",
                str(folder / path),
            )


def _problem(folder: Path, file: WeightFile) -> str | None:
    path, name = folder / file.path, f"{folder.name}/{file.path}"
    try:
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != file.size:
            return f"{name} has {size} bytes, but weights.lock has {file.size}"
        if (digest := sha256_of(path)) != file.sha256:
            return f"{name} has SHA-256 {digest}, but weights.lock has {file.sha256}"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None


def files_below(folder: Path) -> Iterator[str]:
    """The paths of the files below a folder, relative to it and with `/`, links among them.

    Files of desktops and git are left out: nothing loads them.
    """
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        litter = any(part[0] == "." for part in inside.parts) or path.name.lower() in _LITTER
        if not litter and (path.is_symlink() or not path.is_dir()):
            yield inside.as_posix()
