"""The datasets, streams and media sets of one module, and where they lie on disk."""

from __future__ import annotations

import json
import secrets
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.module.files import check_inside, check_no_link, is_inside, replace_text
from foundry_cm.module.resources import ALIAS, Kind

State = TypeVar("State")

DEFAULT_BRANCH = "master"
STATE_FOLDER = ".cm"
NAMESPACE = uuid.UUID("9f0a4a2e-7c55-4c39-9c0b-3f6c1f1f7a10")
# Of the service user, or of whoever a pipeline runs for.
USER_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Resource:
    """One input or output of a module, known to it by its alias.

    An input is what a person put into `data/<alias>/` and is never written; an output lands in
    `outputs/<alias>/`. A reference is looked up in when the module likes; what else it reads, it polls.
    `remote` is the identifier of an input that lies in the real Foundry, where it is read.
    """

    alias: str
    kind: Kind = "dataset"
    writable: bool = False
    is_reference: bool = False
    remote: str = ""

    def __post_init__(self) -> None:
        if not ALIAS.fullmatch(self.alias):
            raise ValueError(f"not an alias: {self.alias!r}")

    @property
    def rid(self) -> str:
        """The resource identifier: the same for the same alias, so runs can be compared."""
        if self.remote:
            return self.remote
        unique = uuid.uuid5(NAMESPACE, f"{self.kind}/{self.alias}/{self.writable}")
        if self.kind == "media_set":
            return f"ri.mio.main.media-set.{unique}"
        return f"ri.foundry.main.dataset.{unique}"

    def folder(self, root: Path) -> Path:
        """Where the files of the default branch lie, for a person to open."""
        return root / ("outputs" if self.writable else "data") / self.alias

    def files(self, root: Path) -> list[Path]:
        """The files of that folder, sorted, without hidden ones and links that lead out of the module.

        None for what lies in the real Foundry.
        """
        if self.remote:
            return []
        return [path for path in self._found(root) if is_inside(root, path)]

    def check(self, root: Path) -> None:
        """Raise the `CmError` of a link by which something outside the module would be read or written."""
        check_no_link(root, self.state(root))
        for path in [] if self.writable else self._found(root):
            check_inside(root, path)

    def _found(self, root: Path) -> list[Path]:
        folder = self.folder(root)
        found = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return [path for path in found if not _hidden(path.relative_to(folder))]

    def state(self, root: Path) -> Path:
        """The hidden folder with transactions; it goes when somebody deletes the output."""
        if self.writable:
            return self.folder(root) / STATE_FOLDER
        return root / "outputs" / STATE_FOLDER / "inputs" / self.alias


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def new_rid(kind: str) -> str:
    """A fresh resource identifier; those of transactions sort by time, as the platform's do."""
    if kind == "transaction":
        stamp = int(datetime.now(UTC).timestamp() * 1000)
        tail = secrets.token_hex(8)
        text = f"{stamp:012x}{tail}".rjust(32, "0")
        return f"ri.foundry.main.transaction.{uuid.UUID(text)}"
    return f"ri.foundry.main.{kind}.{uuid.uuid4()}"


def derived_rid(kind: str, *parts: str) -> str:
    """An identifier that follows from what it names."""
    return f"ri.foundry.main.{kind}.{uuid.uuid5(NAMESPACE, '/'.join(parts))}"


def now() -> str:
    """The time as the API writes it."""
    return iso(datetime.now(UTC).timestamp())


def iso(timestamp: float) -> str:
    """Seconds since the epoch as an ISO 8601 instant with milliseconds."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def checked_path(path: str) -> str:
    """A path inside a dataset or media set, or an InvalidFilePath error.

    Refused: absolute paths, `..`, empty parts, backslashes, control characters, and the folder
    that holds our own state.
    """
    parts = path.split("/")
    wrong = (
        not path
        or len(path) > 1000
        or "\\" in path
        or any(ord(letter) < 32 for letter in path)
        or any(part in ("", ".", "..") or len(part.encode()) > 240 for part in parts)
        or parts[0] == STATE_FOLDER
        or PurePosixPath(path).is_absolute()
    )
    if wrong:
        raise ApiError("InvalidFilePath", filePath=path)
    return path


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one step: the old text or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(value, indent=1))


def read_state(path: Path, kind: type[State]) -> State | None:
    """What an earlier run has kept in a file of ours, or None where there is none.

    It may have come with a repository. Raises `CmError` where it is not what a run writes.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, ApiError):
        raise CmError(
            f"{path.parent.name}/{path.name} is not what cm run writes",
            where=str(path),
            fix=f"Remove {path.parent}, and cm processes its inputs again.",
            code="State",
            exit_code=USAGE,
        ) from None


def remove_file(path: Path, root: Path) -> None:
    """Removes a file of ours, and the folders below the root that are empty then."""
    check_no_link(root, path)
    path.unlink(missing_ok=True)
    _remove_empty(path.parent, root)


def remove_tree(folder: Path, root: Path) -> None:
    """Removes a folder of ours, and the folders around it that are empty then."""
    check_no_link(root, folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    _remove_empty(folder.parent, root)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
