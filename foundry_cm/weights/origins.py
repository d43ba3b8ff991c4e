"""What `cm weights pull` asks an origin: the exact revision, and the files with their sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

import requests

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.weights.download import HttpsOrigin, Origin, with_retries
from foundry_cm.weights.lock import WeightsError
from foundry_cm.weights.request import PICKLES

# What a model in safetensors needs: the tensors, their configuration, its tokenizer.
USUAL = (".json", ".model", ".safetensors", ".txt")
# Copies of the same model for other runtimes.
OTHER_RUNTIMES = {"coreml", "onnx", "openvino"}


@dataclass(frozen=True)
class RemoteFile:
    """A file at its origin; `sha256` only where the origin states it."""

    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Resolved:
    """What a request for weights means today: the pinned origin, its files, a way to get them."""

    origin: dict[str, str]
    files: list[RemoteFile]
    source: Origin


def resolve(asked: dict[str, Any], where: str) -> Resolved:
    """Ask the origin that `asked` (the table `[tool.foundry-cm.weights]`) names.

    Raises CmError for a table that cannot be meant and WeightsError for what the origin refuses.
    """
    kind = asked.get("origin")
    if kind not in RESOLVERS:
        raise CmError(
            f'There is no origin "{kind}"',
            where=where,
            fix=near_miss(str(kind), RESOLVERS),
            code="UnknownOrigin",
            exit_code=USAGE,
        )
    return RESOLVERS[kind](asked, where)


def reopen(origin: dict[str, str]) -> Origin:
    """The way to the files of a lock's origin; raises WeightsError where the lock names none."""
    if origin.get("kind") == "foundry":
        from foundry_cm.weights.dataset import DatasetOrigin

        return DatasetOrigin(_platform(), origin.get("dataset", ""), origin.get("transaction", ""))
    if origin.get("kind") == "huggingface":
        return HttpsOrigin(origin.get("url", ""), _hub_session())
    return HttpsOrigin(origin.get("url", ""), requests.Session())


def _text(asked: dict[str, Any], key: str, where: str, example: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str) or not value:
        raise CmError(
            f"The weights need `{key}`",
            where=where,
            fix=f'Write there, for example: {key} = "{example}"',
            code="IncompleteWeights",
            exit_code=USAGE,
        )
    return value


def _patterns(asked: dict[str, Any], where: str) -> list[str]:
    patterns = asked.get("files", [])
    if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
        raise CmError(
            "`files` of the weights is not a list of names",
            where=where,
            fix='Write, for example: files = ["*.json", "model.safetensors"]',
            code="IncompleteWeights",
            exit_code=USAGE,
        )
    return patterns


def huggingface(asked: dict[str, Any], where: str) -> Resolved:
    """A repository of models on the Hugging Face hub, or on the one that HF_ENDPOINT names.

    A branch or tag becomes the commit it points to. The token in HF_TOKEN opens private and gated
    repositories.
    """
    try:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise CmError(
            "Reading the Hugging Face hub needs the package huggingface_hub",
            fix="pip install huggingface_hub",
            code="MissingPackage",
        ) from None
    repo = _text(asked, "repo", where, "sentence-transformers/all-MiniLM-L6-v2")
    revision = _text(asked, "revision", where, "main")
    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    try:
        info = HfApi(endpoint).model_info(repo, revision=revision, files_metadata=True)
    except HfHubHTTPError as error:
        raise _refusal(error, repo, revision) from None
    except Exception as error:
        # The hub's HTTP library changed between its major versions, and with it the errors' base.
        if not isinstance(error, OSError) and not type(error).__module__.startswith("http"):
            raise
        raise WeightsError(
            f"the connection to {endpoint} failed ({error})",
            "check the network, the proxy and the CA in SSL_CERT_FILE",
        ) from None
    files = [
        RemoteFile(item.rfilename, item.size or 0, item.lfs.sha256 if item.lfs else None)
        for item in info.siblings or []
    ]
    url = f"{endpoint}/{repo}/resolve/{info.sha}/"
    origin = {"kind": "huggingface", "repo": repo, "revision": str(info.sha), "url": url}
    return Resolved(origin, _chosen(files, asked, where, repo), HttpsOrigin(url, _hub_session()))


def _hub_session() -> requests.Session:
    session = requests.Session()
    if token := os.environ.get("HF_TOKEN"):
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def _refusal(error: Any, repo: str, revision: str) -> WeightsError:
    status = error.response.status_code
    if type(error).__name__ == "RevisionNotFoundError":
        return WeightsError(
            f"{repo} has no revision {revision}", "correct `revision` in pyproject.toml"
        )
    if status in (401, 403, 404):
        return WeightsError(
            f"the hub answered {status} for {repo}",
            "correct `repo` in pyproject.toml, or, where it is private or gated, "
            "give the token of a reader in HF_TOKEN",
        )
    return WeightsError(f"the hub answered {status} for {repo}", "try again in a while")


def https(asked: dict[str, Any], where: str) -> Resolved:
    """Named files below an https address."""
    url = _text(asked, "url", where, "https://example.org/models/1.2/").rstrip("/") + "/"
    names = _patterns(asked, where)
    if not names or any(re.search(r"[*?\[]", name) for name in names):
        raise CmError(
            "An https origin cannot be listed, so `files` has to name each file",
            where=where,
            fix='Write, for example: files = ["best.safetensors"]',
            code="IncompleteWeights",
            exit_code=USAGE,
        )
    source = HttpsOrigin(url, requests.Session())
    files = [RemoteFile(name, _size(source, name)) for name in names]
    return Resolved({"kind": "https", "url": url}, files, source)


def foundry(asked: dict[str, Any], where: str) -> Resolved:
    """A dataset of Foundry, as it is after the latest transaction of a branch."""
    dataset = _text(asked, "dataset", where, "ri.foundry.main.dataset.0000-...")
    branch = _text(asked, "branch", where, "master")
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
                f"the platform does not say how large {file.path} is", "use another origin"
            )
        files.append(RemoteFile(file.path, int(file.size_bytes)))
    origin = {"kind": "foundry", "dataset": dataset, "transaction": transaction}
    chosen = _chosen(files, asked, where, dataset)
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
    hostname, token = os.environ.get("FOUNDRY_HOSTNAME"), os.environ.get("FOUNDRY_TOKEN")
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
        with source.open(path, 0) as body:
            return body.size

    size = with_retries(ask)
    if size is None:
        raise WeightsError(f"the origin does not say how large {path} is", "choose another origin")
    return size


def _chosen(
    files: list[RemoteFile], asked: dict[str, Any], where: str, origin: str
) -> list[RemoteFile]:
    """The files that `files` asks for, or, if it is not there, those of a model in safetensors."""
    by_path = {file.path: file for file in files}
    patterns = _patterns(asked, where)
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in by_path):
            raise CmError(
                f'{origin} has no file "{pattern}"',
                where=where,
                fix=near_miss(pattern, by_path),
                code="NoSuchFile",
                exit_code=USAGE,
            )
    if patterns:
        return [by_path[path] for path in _matching(by_path, patterns)]
    usual = [file for path, file in by_path.items() if _is_usual(path)]
    if not any(file.path.endswith(".safetensors") for file in usual):
        pickles = ", ".join(path for path in by_path if path.endswith(PICKLES))
        instead = f", only pickles, which run code as they load: {pickles}" if pickles else ""
        raise CmError(
            f"{origin} has no safetensors{instead}",
            where=where,
            fix='Choose another revision, or name what you trust: files = ["..."]',
            code="NoSafetensors",
        )
    return usual


def _matching(paths: Iterable[str], patterns: list[str]) -> list[str]:
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)]


def _is_usual(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.suffix in USUAL and not OTHER_RUNTIMES & {part.lower() for part in pure.parts[:-1]}


RESOLVERS: dict[str, Callable[[dict[str, Any], str], Resolved]] = {
    "huggingface": huggingface,
    "https": https,
    "foundry": foundry,
}
