"""What a module asks for in `[tool.foundry-cm.weights]`, and whether it has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.places import Place
from foundry_cm.module.project import Project
from foundry_cm.module.records import Record, Wrong, as_record
from foundry_cm.weights.content import runs_code
from foundry_cm.weights.lock import (
    Lock,
    WeightsError,
    paths_problem,
    read_lock,
    url_problem,
    verify,
)

_OTHER = "weights.lock was written for other weights than pyproject.toml asks for"

Files = Annotated[tuple[str, ...], Meta(examples=[["best.safetensors"]])]


class _Table(Record, frozen=True, kw_only=True, tag_field="origin"):
    """What each origin takes."""

    strategy: Literal["baked", "downloaded"] = "baked"
    # What loads them: it needs a model in ONNX, or one in safetensors.
    engine: Literal["onnx", "sentence-transformers"] = "sentence-transformers"
    # Names or patterns of them; without any, what the engine needs.
    files: Files = ()

    def __post_init__(self) -> None:
        if problem := paths_problem(self.files):
            raise Wrong("files", f"In files, {problem}", "Name files below the origin.")


class HuggingFace(_Table, frozen=True, kw_only=True, tag="huggingface"):
    """A repository of models on the Hugging Face hub, or on the one that HF_ENDPOINT names."""

    repo: Annotated[str, Meta(examples=["sentence-transformers/all-MiniLM-L6-v2"])]
    # A branch or tag becomes the commit that it points to.
    revision: Annotated[str, Meta(examples=["main"])]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.repo, re.ASCII):
            raise Wrong("repo", "repo is not OWNER/NAME")


class Https(_Table, frozen=True, kw_only=True, tag="https"):
    """Named files below an https address."""

    url: Annotated[str, Meta(examples=["https://example.org/models/1.2/"])]
    files: Files

    def __post_init__(self) -> None:
        super().__post_init__()
        if problem := url_problem(self.url):
            fix = "Weights travel over https only, from a host and a path."
            if self.url.startswith(("file:", "/", "~", ".", "\\\\")):
                fix = 'For a folder or file share, write origin = "folder" and folder = "/path".'
            raise Wrong("url", f"url {problem}", fix)
        if not self.files or any(re.search(r"[*?\[]", name) for name in self.files):
            raise Wrong(
                "files",
                "An https origin cannot be listed, so files has to name each file",
                'Write, for example: files = ["best.safetensors"]',
            )


class Dataset(_Table, frozen=True, kw_only=True, tag="foundry"):
    """A dataset of Foundry, as it is after the latest transaction of a branch."""

    dataset: Annotated[str, Meta(examples=["ri.foundry.main.dataset.0000-..."])]
    branch: Annotated[str, Meta(examples=["master"])]


class LocalFolder(_Table, frozen=True, kw_only=True, tag="folder"):
    """A folder of this machine, or a file share that is mounted here; below the module if relative."""

    folder: Annotated[str, Meta(examples=["/mnt/models/e5-small"])]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy == "downloaded":
            raise Wrong(
                "strategy",
                "A replica sees no folder of this machine, so it cannot download from one",
                'Write strategy = "baked", or choose another origin.',
            )


Wanted = HuggingFace | Https | Dataset | LocalFolder


@dataclass(frozen=True)
class Request:
    """Which weights a module asks for, and how they get to the replica."""

    folder: Path
    wanted: Wanted
    # The table as the lock keeps it, to see whether something else is asked for by now.
    asked: dict[str, Any]
    place: Place

    @classmethod
    def read(cls, project: Project) -> Request:
        """The request in pyproject.toml; raises CmError where there is none, or it cannot be."""
        place = Place(project.folder / "pyproject.toml", ("tool", "foundry-cm", "weights"))
        table = project.settings.weights
        if not table:
            raise CmError(
                "This module declares no weights",
                where=f"{place.file}, [{'.'.join(place.keys)}]",
                fix="Add that table, with strategy, origin, repo (or url) and revision.",
                code="NoWeights",
                exit_code=USAGE,
            )
        wanted: Wanted = as_record(Wanted, table, place, "Weights")  # type: ignore[arg-type]
        asked = {key: value for key, value in table.items() if key != "strategy"}
        return cls(project.folder, wanted, asked, place)

    @property
    def lock(self) -> Path:
        """Where the module keeps its weights.lock."""
        return self.folder / "weights.lock"

    @property
    def is_baked(self) -> bool:
        """Whether the image carries the weights; else each replica downloads them."""
        return self.wanted.strategy == "baked"

    @property
    def is_locked(self) -> bool:
        """Whether weights.lock was written for what is asked for now."""
        try:
            content = json.loads(self.lock.read_text(encoding="utf-8"))
            return bool(content["asked"] == self.asked)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def models(self, lock: Lock) -> Path:
        """The folder that the module loads from: the image's, or one in the machine's cache."""
        if self.is_baked:
            return self.folder / "models"
        from foundry_cm.weights.download import cache_folder

        return cache_folder() / lock.name

    @contextmanager
    def told_as_cm_error(self) -> Iterator[None]:
        """Turn a WeightsError into the error that `cm` prints."""
        try:
            yield
        except WeightsError as error:
            raise CmError(
                error.what,
                where=error.where or f"{self.place.file}, [{'.'.join(self.place.keys)}]",
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
        """The locked files that can run code as they load."""
        files = (file.path for file in self.lock.files)
        return [path for path in files if runs_code(path, self.folder / path)]


def check(project: Project) -> Pulled:
    """Hold the files to weights.lock, and the lock to pyproject.toml; raises CmError."""
    request = Request.read(project)
    with request.told_as_cm_error():
        lock = read_lock(request.lock)
        if not request.is_locked:
            raise WeightsError(
                _OTHER,
                "write it again with `cm weights pull`",
                str(request.lock),
            )
        folder = request.models(lock)
        verify(folder, lock)
    return Pulled(lock, folder, relocked=False)


def note(project: Project) -> str | None:
    """What a build should be told of weights that are not those that are asked for; None where they are.

    Raises `CmError` for settings that cannot be used.
    """
    if not project.settings.weights:
        return None
    request = Request.read(project)
    return _OTHER if request.lock.is_file() and not request.is_locked else None
