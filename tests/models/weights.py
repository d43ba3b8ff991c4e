"""Short ways to pull weights into a module, and to fetch them as a replica does."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foundry_cm.module.project import Project
from foundry_cm.weights.download import download
from foundry_cm.weights.hub import HubOrigin
from foundry_cm.weights.lock import Lock, WeightFile
from foundry_cm.weights.pull import pull
from foundry_cm.weights.request import Pulled
from tests.models.conftest import REPO, Module
from tests.models.hub import COMMIT, Hub

SAFETENSORS = "model.safetensors"


@contextmanager
def silent(_total: int) -> Iterator[Callable[[int], None]]:
    """Progress that nobody sees."""
    yield lambda _count: None


def pull_into(module: Module, **options: Any) -> Pulled:
    """`cm weights pull` in a module."""
    return pull(Project.read(module.folder), silent, **options)


def lock_of(hub: Hub, *paths: str) -> Lock:
    """A lock of files of the small model, as the hub has them."""
    contents = {path: (hub.repos[REPO] / path).read_bytes() for path in paths or (SAFETENSORS,)}
    files = (
        WeightFile(path, len(content), hashlib.sha256(content).hexdigest())
        for path, content in contents.items()
    )
    url = f"{hub.url}/{REPO}/resolve/{COMMIT}/"
    return Lock({"kind": "huggingface", "url": url}, tuple(files))


def fetch(lock: Lock, cache: Path) -> Path:
    """What a replica does before it serves."""
    return download(lock, lambda: HubOrigin(lock.origin["url"]), cache)
