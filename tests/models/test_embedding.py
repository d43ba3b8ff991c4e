"""A rendered embedding module answers with the model's own vectors, or says why it cannot start."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_cm.errors import CmError
from foundry_cm.module.coldstart import ColdStart
from foundry_cm.testing import Foundry
from tests.conftest import Render
from tests.models.conftest import MODELS_MISSING, check_rendered, pull_weights
from tests.models.hub import Hub, status

pytestmark = pytest.mark.slow

TEXTS = [
    "centrifugal pump",
    "",
    "a machine that moves water from one place to another " * 200,
    "Überdruckventil für Heißdampf",
    "ポンプ",
    "\U0001f6b0",
    "centrifugal pump",
    "x",
]

Modules = Callable[..., Path]
ONNX = "onnx/model.onnx"


# Each strategy and each engine.
KINDS = [("downloaded", "sentence-transformers"), ("baked", "onnx")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def running(request: pytest.FixtureRequest, embedding_modules: Modules) -> Iterator[Foundry]:
    """The module of each kind under the local Foundry, with threads for two calls at a time."""
    folder = embedding_modules(*request.param)
    with Foundry(folder, [sys.executable, "src/app.py"], concurrency=2) as foundry:
        yield foundry


def test_vectors_are_those_of_the_library(running: Foundry, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, normalize_embeddings=True)
    result = running.call("embed", {"texts": TEXTS})
    assert result["dimension"] == 384
    vectors = np.array([item["vector"] for item in result["embeddings"]])
    assert np.abs(vectors - direct).max() < 1e-6
    assert [item["truncated"] for item in result["embeddings"]] == [
        number == 2 for number in range(len(TEXTS))
    ]


def test_search_ranks_as_the_library_does(running: Foundry, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(minilm), device="cpu")
    everything = running.call("search", {"query": "a machine that moves water", "limit": 99})
    labels = [match["label"] for match in everything]
    scores = util.cos_sim(model.encode("a machine that moves water"), model.encode(labels))[0]
    assert len(everything) == 30
    assert np.abs(scores.numpy() - [match["score"] for match in everything]).max() < 1e-6


def test_start_says_device_and_seconds(running: Foundry) -> None:
    for line in ("Model: import took", "Model: load took", "Model: warm-up took", "Device: cpu,"):
        assert line in running.output
    start = ColdStart.last_in(running.output)
    assert start and list(start.steps) == ["import", "weights", "load", "warm-up"]


def test_calls_at_the_same_time_are_answered(running: Foundry) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def call(number: int) -> Any:
        return running.call("embed", {"texts": [f"text {number} " * (number + 1)]})

    alone = [call(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(call, range(8)))
    first = np.array([[item["vector"] for item in result["embeddings"]] for result in alone])
    again = np.array([[item["vector"] for item in result["embeddings"]] for result in together])
    assert np.abs(first - again).max() < 1e-6


@pytest.mark.parametrize(("strategy", "engine"), KINDS)
def test_rendered_tests_and_linters_pass(
    embedding_modules: Modules, strategy: str, engine: str
) -> None:
    check_rendered(embedding_modules(strategy, engine))


def start(folder: Path) -> CmError:
    """Why a module does not start."""
    with pytest.raises(CmError) as died, Foundry(folder, [sys.executable, "src/app.py"]):
        pass
    return died.value


@pytest.fixture
def copied(embedding_modules: Modules, tmp_path: Path) -> Callable[[str], Path]:
    """A module of a strategy to change at will."""
    return lambda strategy: shutil.copytree(embedding_modules(strategy), tmp_path / "module")


def test_changed_weights_are_never_served(copied: Callable[[str], Path]) -> None:
    folder = copied("baked")
    with (folder / "models" / ONNX).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    death = start(folder)
    assert "exited with code 1" in death.what
    assert "No weights: models/onnx/model.onnx has SHA-256 " in death.what
    assert death.what.endswith("fetch it again with `cm weights pull`")
    assert "Traceback" not in death.what + (death.details or "")


def test_module_without_a_lock_says_how_to_get_one(copied: Callable[[str], Path]) -> None:
    folder = copied("baked")
    (folder / "weights.lock").unlink()
    assert start(folder).what.endswith(
        "declared its functions: No weights: weights.lock is missing; write it with `cm weights pull`"
    )


def test_replica_downloads_before_it_serves(
    copied: Callable[[str], Path], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("downloaded")
    monkeypatch.setenv("WEIGHTS_CACHE", str(tmp_path / "cache"))
    hub.fail("model.onnx", status(503))
    with Foundry(folder, [sys.executable, "src/app.py"]) as foundry:
        assert foundry.call("search", {"query": "pump", "limit": 1})[0]["partition"] == "pumps"
    assert "answered 503" in foundry.output
    assert "stamina" not in foundry.output
    assert re.search(r"Weights: [89]\d\.\d MB of 9\d\.\d MB", foundry.output)
    assert re.search(r"Weights: 9\d\.\d MB in \d+\.\d s, verified, in ", foundry.output)
    hub.requests.clear()
    with Foundry(folder, [sys.executable, "src/app.py"]) as foundry:
        assert "Weights: using the verified copy in" in foundry.output
    assert hub.requests == []


def test_replica_that_cannot_download_says_why(
    copied: Callable[[str], Path], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("downloaded")
    monkeypatch.setenv("WEIGHTS_CACHE", str(tmp_path / "cache"))
    hub.fail("model.onnx", status(404))
    death = start(folder)
    assert "exited with code 1" in death.what
    assert "onnx/model.onnx answered 404; correct the origin in pyproject.toml" in death.what


def test_replica_downloads_through_a_source(
    render: Render, hub: Hub, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = minilm
    folder = render(example="embedding", weights_strategy="downloaded", weights_source="hub")
    monkeypatch.setenv("WEIGHTS_CACHE", str(tmp_path / "cache"))
    pull_weights(folder)
    shutil.rmtree(tmp_path / "cache")
    code = "import sys, logging; logging.basicConfig(stream=sys.stdout, level='INFO')\n"
    code += "sys.path.insert(0, 'src'); from cmkit.model import weights_folder; weights_folder()"
    fetch = partial(
        subprocess.run, [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True
    )
    missing = fetch()
    assert missing.returncode == 1
    assert (
        'No weights: no REST Source "hub" is imported into the module; '
        "stop the module, import it (Configure tab, Sources), start the module"
    ) in missing.stdout

    # What Foundry mounts for a Source: its address, and the headers that carry its credentials.
    connection = {"url": hub.url, "authHeaders": {"X-Key": "secret"}, "queryParameters": {}}
    sources = {"hub": {"secrets": {}, "httpConnectionConfig": connection}}
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    (tmp_path / "discovery.yml").write_text("on_prem_proxy: []\n")
    monkeypatch.setenv("SOURCE_CONFIGURATIONS_PATH", str(tmp_path / "sources.json"))
    monkeypatch.setenv("FOUNDRY_SERVICE_DISCOVERY_V2", str(tmp_path / "discovery.yml"))
    monkeypatch.setenv("DEFAULT_CA_PATH", str(hub.ca))
    hub.requests.clear()
    done = fetch()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified, in" in done.stdout
    assert hub.keys == {"secret"}


@pytest.fixture
def own_model(minilm: Path, render: Render, tmp_path: Path) -> Callable[..., Path]:
    """A module whose model is that of a folder, which `change` changes first."""

    def module(change: Callable[[Path], None], **answers: str) -> Path:
        model = shutil.copytree(minilm, tmp_path / "own")
        change(model)
        folder = render(
            example="embedding", weights_origin="folder", weights_folder=str(model), **answers
        )
        pull_weights(folder)
        return folder

    return module


# As E5 has them: the library itself passes over "passage".
PROMPTS = {"query": "query: ", "passage": "passage: "}


def add_prompts(model: Path) -> None:
    (model / "config_sentence_transformers.json").write_text(json.dumps({"prompts": PROMPTS}))


@pytest.mark.parametrize("engine", ["sentence-transformers", "onnx"])
def test_a_model_with_prompts_gets_them_on_both_sides(
    own_model: Callable[..., Path], minilm: Path, engine: str
) -> None:
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(str(minilm), device="cpu")
    texts = ["what moves water?", "pump"]

    def wanted(prompt: str, texts: list[str]) -> Any:
        return direct.encode([prompt + text for text in texts], normalize_embeddings=True)

    folder = own_model(add_prompts, engine=engine)
    # A setting that weights.lock does not follow yet is said at the start.
    settings = folder / "pyproject.toml"
    settings.write_text(settings.read_text().replace("/own", "/other"))
    with Foundry(folder, [sys.executable, "src/app.py"]) as running:
        answers = {
            name: running.call(name, {"texts": texts})["embeddings"]
            for name in ("embed", "embed_query")
        }
        found = running.call("search", {"query": texts[0], "limit": 99})
        huge = running.call("embed", {"texts": ["pump " * 2_000_000, "pump " * 900, "pump " * 252]})
    for name, prompt in (("embed", PROMPTS["passage"]), ("embed_query", PROMPTS["query"])):
        vectors = np.array([item["vector"] for item in answers[name]])
        assert np.abs(vectors - wanted(prompt, texts)).max() < 1e-6
    labels = [match["label"] for match in found]
    scores = wanted(PROMPTS["passage"], labels) @ wanted(PROMPTS["query"], texts[:1])[0]
    assert np.abs(scores - [match["score"] for match in found]).max() < 1e-6
    # 256 tokens are read; the prompt is two of them, and two more stand around all.
    first, second, _ = (item["vector"] for item in huge["embeddings"])
    assert first == second
    assert [item["truncated"] for item in huge["embeddings"]] == [True, True, False]
    numbers = json.dumps(answers["embed"][0]["vector"])
    assert len(numbers) < 384 * 14
    assert "pyproject.toml asks for other weights than weights.lock holds" in running.output
    assert "Loading: read_index" in running.output
    for noise in ("FutureWarning", "Batches:", "Loading weights:", "<lambda>"):
        assert noise not in running.output


def without_tokenizer(model: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (model / name).unlink()


def with_code(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    code = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (model / "config.json").write_text(json.dumps(config | code))
    (model / "own.py").write_text("")


def with_dense(model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (model / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("engine", "change", "said"),
    [
        (
            "sentence-transformers",
            without_tokenizer,
            "it reads every text alike: weights.lock has no files of its tokenizer",
        ),
        (
            "sentence-transformers",
            with_code,
            "`trust_remote_code=True` to allow custom code to be run.",
        ),
        (
            "onnx",
            with_dense,
            "modules.json asks for a module Dense; the engine sentence-transformers runs more models",
        ),
    ],
)
def test_a_model_that_cannot_work_is_refused_at_the_start_in_one_line(
    own_model: Callable[..., Path], engine: str, change: Callable[[Path], None], said: str
) -> None:
    death = start(own_model(change, engine=engine))
    assert "No model: " in death.what
    assert said in death.what
    assert "Traceback" not in death.what + (death.details or "")


@pytest.mark.parametrize("kind", KINDS)
def test_static_inference_loads_nothing_and_prints_only_the_types(
    embedding_modules: Modules, kind: tuple[str, str]
) -> None:
    code = (
        "import sys; from compute_modules import startup; startup.DISABLE_STARTUP = True; "
        "sys.path.insert(0, 'src'); import app; "
        "assert app.MODEL is None; assert not {'torch', 'onnxruntime'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=embedding_modules(*kind),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_sample_events_are_valid_json(embedding_modules: Modules) -> None:
    events = embedding_modules("baked") / "events"
    assert {path.stem for path in events.iterdir()} == {"embed", "embed_query", "search"}
    for path in events.iterdir():
        json.loads(path.read_text())


def test_thread_pool_answers_on_cuda(embedding_modules: Modules, minilm: Path) -> None:
    torch = pytest.importorskip("torch", reason=MODELS_MISSING)
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU that this PyTorch can use")
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, normalize_embeddings=True)
    command = [sys.executable, "src/app.py"]
    folder = embedding_modules("baked", "sentence-transformers")
    with Foundry(folder, command, concurrency=4) as foundry:
        result = foundry.call("embed", {"texts": TEXTS})
        assert "Device: cuda, " in foundry.output
    vectors = np.array([item["vector"] for item in result["embeddings"]])
    assert np.abs(vectors - direct).max() < 1e-3
