"""`make bench-models`: size, start, throughput and vectors of the embedding example, by engine, with bars."""

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
from tests.batching import gain_of_a_model
from tests.bench import Figure, show
from tests.conftest import snapshot
from tests.models.conftest import pass_on_the_hub, pull_weights
from tests.models.hub import running_hub
from tests.models.minilm import minilm

# What the field guide's requirements.txt lists.
GUIDE = [
    "foundry-compute-modules",
    "pyarrow",
    "numpy>=1.24,<2.0",
    "pandas",
    "sentence-transformers",
]
ENGINES = {"PyTorch": "sentence-transformers", "ONNX": "onnx"}
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


def sizes(folder: Path) -> list[Figure]:
    """The wheels in the CPU image of each engine, against those that the field guide's requirements install.

    Without the base images, which differ likewise: python:3.12-slim here, python:3.12 there.
    """
    sdk, guide = "foundry-compute-modules", wheel_bytes(folder, *GUIDE)
    pytorch = wheel_bytes(folder, "--no-deps", *installed(sdk, "sentence-transformers", "torch"))
    onnx = wheel_bytes(folder, "--no-deps", *installed(sdk, "numpy", "onnxruntime", "tokenizers"))
    return [
        Figure("PyTorch: wheels, against the field guide's", pytorch / guide, "times", 0.4),
        Figure("ONNX: wheels, against the field guide's", onnx / guide, "times", 0.02),
        Figure("ONNX: wheels, against those of PyTorch", onnx / pytorch, "times", 0.2),
    ]


def start(engine: str, module: Path, weights: Path) -> Figure:
    """From the start of the process to the first answer, against import and load of the library alone."""

    def first_answer() -> None:
        with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
            foundry.call("embed", {"texts": ["first"]})

    def bare() -> None:
        command = [sys.executable, "-c", BARE.format(str(weights))]
        subprocess.run(command, check=True, capture_output=True)

    bare()
    ratios = [seconds(first_answer) / seconds(bare) for _ in range(5)]
    name = f"{engine}: start to first answer, against import and load of PyTorch"
    return Figure(name, median(ratios), "times", 0.3 if engine == "ONNX" else 1.3)


def throughput(engine: str, module: Path, weights: Path) -> list[Figure]:
    """256 texts through the runtime, against the same call of the library, in turn; and their vectors."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights), device="cpu")
    options: dict[str, Any] = {"batch_size": 64, "normalize_embeddings": True}
    theirs = model.encode(TEXTS, **options)
    with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
        ours = foundry.call("embed", {"texts": TEXTS})["embeddings"]
        ratios = [
            seconds(lambda: model.encode(TEXTS, **options))
            / seconds(lambda: foundry.call("embed", {"texts": TEXTS}))
            for _ in range(9)
        ]
    name = f"{engine}: 256 texts through the runtime, against a direct call of PyTorch"
    bar = 0.9 if engine == "ONNX" else 0.85
    far = max(
        abs(float(left) - float(right))
        for item, vector in zip(ours, theirs, strict=True)
        for left, right in zip(item["vector"], vector, strict=True)
    )
    return [
        Figure(name, median(ratios), "of the throughput", bar, at_least=True),
        Figure(f"{engine}: vectors, from those of PyTorch", far * 1e6, "millionths", 1),
    ]


@contextmanager
def pulled_modules(folder: Path) -> Iterator[tuple[dict[str, Path], Path]]:
    """By engine, a module that downloads its weights, with a warm cache; and the folder of the weights."""
    weights = minilm()
    template = snapshot(folder / "template", "v1.0.0")
    modules = {}
    for name, engine in ENGINES.items():
        modules[name] = folder / name
        answers = {"example": "embedding", "weights_strategy": "downloaded", "engine": engine}
        run_copy(str(template), modules[name], data=answers, defaults=True, quiet=True)
    with running_hub(folder) as hub, pytest.MonkeyPatch.context() as patch:
        hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = weights
        for name, value in hub.environment.items():
            patch.setenv(name, value)
        patch.setenv("WEIGHTS_CACHE", str(folder / "cache"))
        for module in modules.values():
            pass_on_the_hub(module)
            pull_weights(module)
        yield modules, weights


def main() -> None:
    """Measure, print, and end with 1 where a bar is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = sizes(folder)
        with pulled_modules(folder) as (modules, weights):
            for engine, module in modules.items():
                figures.append(start(engine, module, weights))
                figures += throughput(engine, module, weights)
                gain = gain_of_a_model(module, folder / engine)
                name = f"{engine}: 16 callers on the CPU, against those who take turns"
                figures.append(Figure(name, gain, "of the throughput", 1, at_least=True))
    show(figures)


if __name__ == "__main__":
    main()
