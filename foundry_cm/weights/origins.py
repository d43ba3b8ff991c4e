"""What `cm weights pull` asks an origin: the exact revision, and the files with their sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.module.places import Place
from foundry_cm.weights.content import PICKLES
from foundry_cm.weights.download import Origin, TransientError, with_retries
from foundry_cm.weights.https import HttpsOrigin, answer
from foundry_cm.weights.hub import HubOrigin, hub_endpoint, hub_session
from foundry_cm.weights.local import FolderOrigin
from foundry_cm.weights.lock import WeightsError, paths_problem
from foundry_cm.weights.request import Dataset, Https, HuggingFace, LocalFolder, Wanted

# What a model needs beside its tensors: their configuration, its tokenizer.
BESIDE = (".json", ".model", ".txt")
SAFETENSORS = ".safetensors"
ONNX = ".onnx"
# What a model in ONNX is followed by, in the name of the file that has the tensors of a large one.
ONNX_DATA = ("", "_data", ".data")
# Copies of the same model for other runtimes.
OTHER_RUNTIMES = {"coreml", "onnx", "openvino"}


@dataclass(frozen=True)
class RemoteFile:
    """A file at its origin; hashes only where the origin states them."""

    path: str
    size: int
    sha256: str | None = None
    # Another hash: algorithm and hex digits.
    digest: tuple[str, str] | None = None


@dataclass(frozen=True)
class Resolved:
    """What a request for weights means today: the pinned origin, its files, a way to get them."""

    origin: dict[str, str]
    files: list[RemoteFile]
    source: Origin

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def resolve(wanted: Wanted, place: Place) -> Resolved:
    """Ask the origin that a module's settings (at `place`) name.

    Raises CmError for files that it does not have and WeightsError for what it refuses.
    """
    if isinstance(wanted, HuggingFace):
        return _on_the_hub(wanted, place)
    if isinstance(wanted, Https):
        return _over_https(wanted)
    if isinstance(wanted, LocalFolder):
        return _in_a_folder(wanted, place)
    return _in_a_dataset(wanted, place)


def reopen(origin: dict[str, str], module: Path) -> Origin:
    """The way to the files of the origin in the lock of a module."""
    if origin["kind"] == "folder":
        return FolderOrigin(origin["folder"], module)
    if origin["kind"] == "foundry":
        from foundry_cm.weights.dataset import DatasetOrigin

        return DatasetOrigin(_platform(), origin["dataset"], origin["transaction"])
    if origin["kind"] == "huggingface":
        return HubOrigin(origin["url"])
    return HttpsOrigin(origin["url"])


class _LargeFile(msgspec.Struct):
    sha256: str


class _HubFile(msgspec.Struct, rename={"path": "rfilename", "blob": "blobId"}):
    path: str
    size: int | None = None
    blob: str | None = None
    lfs: _LargeFile | None = None


class _Repository(msgspec.Struct, rename={"files": "siblings"}):
    """What the hub says of a repository at a revision; `sha` is the commit."""

    sha: str
    files: list[_HubFile]


def _on_the_hub(wanted: HuggingFace, place: Place) -> Resolved:
    endpoint = hub_endpoint()
    api = f"{endpoint}/api/models/{wanted.repo}/revision/{quote(wanted.revision, safe='')}"
    found = with_retries(lambda: _ask_the_hub(f"{api}?blobs=true", wanted))
    files = []
    for file in found.files:
        if file.size is None:
            raise WeightsError(
                f"the hub does not say how large {file.path!r} is", "try again later"
            )
        digest = ("git", file.blob) if file.blob and not file.lfs else None
        sha256 = file.lfs.sha256 if file.lfs else None
        files.append(RemoteFile(file.path, file.size, sha256, digest))
    url = f"{endpoint}/{wanted.repo}/resolve/{found.sha}/"
    origin = {"kind": "huggingface", "repo": wanted.repo, "revision": found.sha, "url": url}
    return Resolved(origin, _chosen(files, wanted, place, wanted.repo), HubOrigin(url))


def _ask_the_hub(url: str, wanted: HuggingFace) -> _Repository:
    with answer(hub_session(url), url, {}) as response:
        if response.status_code != 200:
            raise _refusal(response, wanted)
        try:
            found = msgspec.json.decode(response.content, type=_Repository)
        except msgspec.DecodeError:
            found = None
    if found is None or not re.fullmatch("[0-9a-f]{40}", found.sha):
        raise WeightsError(
            f"{hub_endpoint()} does not answer like a hub", "correct HF_ENDPOINT", "environment"
        )
    return found


def _refusal(response: requests.Response, wanted: HuggingFace) -> Exception:
    status = response.status_code
    if response.headers.get("X-Error-Code") == "RevisionNotFound":
        return WeightsError(
            f"{wanted.repo} has no revision {wanted.revision}",
            "correct `revision` in pyproject.toml",
        )
    said = f"the hub answered {status} for {wanted.repo}"
    if status in (401, 403, 404):
        return WeightsError(
            said,
            "correct `repo` in pyproject.toml, or, where it is private or gated, "
            "give the token of a reader in HF_TOKEN",
        )
    if status == 429 or status >= 500:
        return TransientError(said)
    return WeightsError(said, "correct HF_ENDPOINT", "environment")


def _over_https(wanted: Https) -> Resolved:
    url = wanted.url.rstrip("/") + "/"
    source = HttpsOrigin(url)
    files = [RemoteFile(name, _size(source, name)) for name in wanted.files]
    return Resolved({"kind": "https", "url": url}, files, source)


def _in_a_folder(wanted: LocalFolder, place: Place) -> Resolved:
    source = FolderOrigin(wanted.folder, place.file.parent)
    files = [RemoteFile(path, 0) for path in source.listed()]
    chosen = [
        RemoteFile(file.path, source.size(file.path))
        for file in _chosen(files, wanted, place, wanted.folder)
    ]
    return Resolved({"kind": "folder", "folder": wanted.folder}, chosen, source)


def _in_a_dataset(wanted: Dataset, place: Place) -> Resolved:
    dataset, branch = wanted.dataset, wanted.branch
    client = _platform()
    from foundry_cm.weights.dataset import DatasetOrigin, platform_errors

    def ask() -> tuple[str, list[Any]]:
        with platform_errors(f"branch {branch} of {dataset}"):
            last = client.datasets.Dataset.Branch.get(dataset, branch).transaction_rid
            if last is None:
                raise WeightsError(f"branch {branch} of {dataset} is empty", "put the files there")
            listed = client.datasets.Dataset.File.list(dataset, end_transaction_rid=last)
            return last, list(listed)

    transaction, listed = with_retries(ask)
    files = []
    for file in listed:
        if file.size_bytes is None:
            raise WeightsError(
                f"the platform does not say how large {file.path!r} is", "use another origin"
            )
        files.append(RemoteFile(file.path, int(file.size_bytes)))
    origin = {"kind": "foundry", "dataset": dataset, "transaction": transaction}
    chosen = _chosen(files, wanted, place, dataset)
    return Resolved(origin, chosen, DatasetOrigin(client, dataset, transaction))


def _platform() -> Any:
    """The official client, for the person whose host and token the environment holds."""
    try:
        from foundry_sdk import FoundryClient, UserTokenAuth
    except ImportError:
        raise CmError(
            "Reading a dataset needs the package foundry-platform-sdk",
            fix="pip install foundry-platform-sdk",
            code="MissingPackage",
        ) from None
    hostname = os.environ.get("FOUNDRY_HOSTNAME", "").strip()
    token = os.environ.get("FOUNDRY_TOKEN", "").strip()
    if not hostname or not token:
        raise CmError(
            "Reading a dataset needs a Foundry and your token",
            fix="export FOUNDRY_HOSTNAME=acme.palantirfoundry.com; "
            "read -rs FOUNDRY_TOKEN && export FOUNDRY_TOKEN",
            code="NoToken",
            exit_code=USAGE,
        )
    return FoundryClient(auth=UserTokenAuth(token), hostname=hostname)


def _size(source: Origin, path: str) -> int:
    def ask() -> int | None:
        with source.open(path, 0, None) as body:
            return body.size

    size = with_retries(ask)
    if size is None:
        raise WeightsError(f"the origin does not say how large {path} is", "choose another origin")
    return size


def _chosen(files: list[RemoteFile], wanted: Wanted, place: Place, origin: str) -> list[RemoteFile]:
    """The files that `files` asks for, or, if it is not there, those that the engine needs."""
    by_path = {file.path: file for file in files if not _is_hidden(file.path)}
    for pattern in wanted.files:
        if not any(fnmatchcase(path, pattern) for path in by_path):
            shown = filter(str.isprintable, by_path)
            raise place.below("files").error(
                f'{origin} has no file "{pattern}"', near_miss(pattern, shown), "NoSuchFile"
            )
    if wanted.files:
        paths = _matching(by_path, wanted.files)
    else:
        find = _onnx if wanted.engine == "onnx" else _safetensors
        tensors = find(by_path, place, origin)
        paths = [path for path in by_path if path in tensors or _is_beside(path)]
    if problem := paths_problem(paths):
        raise WeightsError(
            f"of the files of {origin}, {problem}", "choose another revision or another origin"
        )
    return [by_path[path] for path in paths]


def _safetensors(paths: Iterable[str], place: Place, origin: str) -> list[str]:
    """The tensors of a model in safetensors; raises CmError where there are none."""
    found = [path for path in paths if path.endswith(SAFETENSORS) and not _is_elsewhere(path)]
    if not found:
        pickles = ", ".join(filter(str.isprintable, filter(_is_pickle, paths)))
        instead = f", only pickles, which run code as they load: {pickles}" if pickles else ""
        raise CmError(
            f"{origin} has no safetensors{instead}",
            where=str(place),
            fix='Choose another revision, or name what you trust: files = ["..."]',
            code="NoSafetensors",
        )
    return found


def _onnx(paths: Iterable[str], place: Place, origin: str) -> list[str]:
    """The model in ONNX, and the file of its tensors where it is large; raises CmError for none or several."""
    models = [path for path in paths if path.endswith(ONNX)]
    usual = [name for name in ("onnx/model.onnx", "model.onnx") if name in models]
    if not models:
        raise CmError(
            f"{origin} has no model in ONNX",
            where=str(place),
            fix="Convert its safetensors on this machine: cm weights export",
            code="NoOnnx",
        )
    if len(models) > 1 and not usual:
        raise CmError(
            f"{origin} has several models in ONNX: {', '.join(filter(str.isprintable, models))}",
            where=str(place),
            fix='Name one of them, and the other files: files = ["...", "*.json", "*/config.json"]',
            code="SeveralOnnx",
        )
    model = (usual or models)[0]
    return [path for path in paths if path.startswith(model) and path[len(model) :] in ONNX_DATA]


def _matching(paths: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)]


def _is_hidden(path: str) -> bool:
    """Whether a path is hidden as `.gitattributes` is: no pattern means such files."""
    return any(part.startswith(".") and part.strip(".") for part in path.split("/"))


def _is_pickle(path: str) -> bool:
    return path.lower().endswith(PICKLES)


def _is_beside(path: str) -> bool:
    return path.lower().endswith(BESIDE) and not _is_elsewhere(path)


def _is_elsewhere(path: str) -> bool:
    """Whether a path lies in a folder for another runtime."""
    folders = {part.lower() for part in PurePosixPath(path).parts[:-1]}
    return bool(OTHER_RUNTIMES & folders)
