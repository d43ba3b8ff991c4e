"""A rendered pipeline turns a column of texts into the model's own vectors, whatever happens on the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_cm.module.coldstart import ColdStart
from foundry_cm.testing import Pipeline
from foundry_cm.weights.lock import read_lock
from tests.conftest import Render
from tests.models.conftest import check_rendered, pass_on_the_hub, pull_weights
from tests.models.hub import Hub
from tests.models.test_embedding import TEXTS

pytestmark = pytest.mark.slow

ROWS = 60


@pytest.fixture(scope="session", params=["onnx", "sentence-transformers"])
def folder(request: pytest.FixtureRequest, render: Render, started_hub: Hub, minilm: Path) -> Path:
    """An embedding pipeline with its weights pulled; tests must not change it."""
    started_hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = minilm
    answers = {"example": "embedding", "engine": request.param, "module_name": "meaning"}
    module = render(execution_mode="pipeline", **answers)
    pull_weights(module)
    return module


@pytest.fixture
def pipeline(folder: Path, tmp_path: Path) -> Pipeline:
    """The module with its own inputs, of which there are none yet."""
    return Pipeline(folder, tmp_path)


def put(pipeline: Pipeline, name: str, texts: list[str]) -> None:
    """A file of texts, with their places in it as ids."""
    records = [{"record_id": f"{name}-{place}", "text": text} for place, text in enumerate(texts)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    pipeline.put("input", f"{name}.jsonl", lines)


def by_id(pipeline: Pipeline) -> dict[str, Any]:
    return {row["record_id"]: row for row in pipeline.rows("output")}


def vectors_of(minilm: Path, texts: list[str]) -> Any:
    """The vectors that the library itself gives."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu")
    return model.encode(texts, normalize_embeddings=True)


def test_vectors_are_those_of_the_library(pipeline: Pipeline, folder: Path, minilm: Path) -> None:
    put(pipeline, "a", TEXTS)
    run = pipeline.run()
    assert run.written == {"output": len(TEXTS), "output-errors": 0}
    rows = by_id(pipeline)
    found = [rows[f"a-{place}"] for place in range(len(TEXTS))]
    assert [row["truncated"] for row in found] == [place == 2 for place in range(len(TEXTS))]
    assert {row["dimension"] for row in found} == {384}
    assert {row["model"] for row in found} == {read_lock(folder / "weights.lock").name}
    wanted = vectors_of(minilm, TEXTS)
    assert np.abs(np.array([row["vector"] for row in found]) - wanted).max() < 1e-6


def test_a_kill_on_the_way_loses_and_doubles_no_vector(pipeline: Pipeline, minilm: Path) -> None:
    texts = [f"pump {number} of the second shift" for number in range(ROWS)]
    put(pipeline, "a", texts[: ROWS // 2])
    os.utime(pipeline.root / "data/input/a.jsonl", (1, 1))
    put(pipeline, "b", texts[ROWS // 2 :])
    run = pipeline.run(faults=["kill@mid-upload", "kill@before-commit"])
    assert run.kills == 2
    assert len(pipeline.rows("output")) == ROWS
    rows = by_id(pipeline)
    names = [f"{name}-{place}" for name in "ab" for place in range(ROWS // 2)]
    found = np.array([rows[name]["vector"] for name in names])
    assert np.abs(found - vectors_of(minilm, texts)).max() < 1e-6


def test_weights_are_downloaded_before_anything_is_read(
    render: Render,
    hub: Hub,
    minilm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = minilm
    monkeypatch.setenv("WEIGHTS_CACHE", str(tmp_path / "cache"))
    answers = {"execution_mode": "pipeline", "example": "embedding"}
    folder = render(weights_strategy="downloaded", **answers)
    pass_on_the_hub(folder)
    pull_weights(folder)
    monkeypatch.setenv("WEIGHTS_CACHE", str(tmp_path / "empty"))
    pipeline = Pipeline(folder, tmp_path)
    put(pipeline, "a", ["pump"])
    # The authority of the hub is a company's own, so it is passed on.
    assert pipeline.run(env=hub.environment).written["output"] == 1
    lines = pipeline.output.splitlines()
    assert any("verified, in" in line for line in lines)
    for line in ("Model: import took", "Model: load took", "Model: warm-up took", "Device: cpu,"):
        assert any(line in each for each in lines)
    start = ColdStart.last_in(pipeline.output)
    assert start and list(start.steps) == ["import", "weights", "load", "warm-up"]


def test_rendered_tests_and_linters_pass(folder: Path) -> None:
    check_rendered(folder)
