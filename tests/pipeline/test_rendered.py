"""The rendered pipeline module as its owner treats it, and the questions that shape it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy, run_update
from copier.errors import CopierError

from tests.conftest import Render, commit, git, snapshot
from tests.interpreters import SUPPORTED
from tests.rendered.test_rendered import run, toolbox

FLAT = {"order_id": "str", "amount": "float", "count": "int", "late": "bool"}
STREAMS = {
    "inputs": {"events": "stream", "orders": "dataset"},
    "outputs": {"published": "stream", "kept": "dataset"},
    "payload_fields": FLAT,
    "result_fields": {"order_id": "str", "total": "float", "large": "bool"},
}


EMBEDDING = {"example": "embedding"}
LISTS = {"payload_fields": FLAT | {"tags": "list[str]"}, "result_fields": {"tags": "list[str]"}}
MEDIA = {"inputs": {"photos": "media_set", "scans": "media_set"}, "sources": ["Api"]}
REFERENCE = {"inputs": {"prices": "reference", "i": "reference", "orders": "dataset"}}
SHAPES = [(version, answers) for answers in ({}, STREAMS) for version in SUPPORTED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "answers"),
    [*SHAPES, ("3.11", LISTS), ("3.13", MEDIA), ("3.11", REFERENCE)],
    ids=str,
)
def test_module_is_formatted_linted_typed_and_passes_its_own_tests(
    render: Render, version: str, answers: dict[str, Any]
) -> None:
    module = render(execution_mode="pipeline", python_version=version, **answers)
    python = toolbox(version, module / "requirements-dev.txt")
    run(python, module, "ruff", "format", "--check", ".")
    run(python, module, "ruff", "check", ".")
    run(python, module, "mypy")
    assert f"{3 if answers is MEDIA else 4} passed" in run(python, module, "pytest").stdout


def test_a_pipeline_has_no_functions_and_a_function_no_pipeline(render: Render) -> None:
    pipeline, function = render(execution_mode="pipeline"), render()
    assert not (pipeline / "events").exists()
    assert not (pipeline / "src/cmkit/functions").exists()
    assert not (function / "src/cmkit/pipelines").exists()
    assert not (function / "src/resources.json").exists()
    assert not (function / "data").exists()


def test_aliases_and_samples_follow_the_answers(render: Render) -> None:
    module = render(execution_mode="pipeline", poll_seconds=5, **STREAMS)
    assert json.loads((module / "src/resources.json").read_text()) == {
        "inputs": STREAMS["inputs"],
        "outputs": STREAMS["outputs"],
        "errors": "published-errors",
        "output_format": "csv",
        "poll_seconds": 5,
    }
    samples = sorted(str(path.relative_to(module)) for path in module.glob("data/*/*"))
    assert samples == ["data/events/partition-0.jsonl", "data/orders/sample.jsonl"]
    rows = [json.loads(line) for line in (module / samples[1]).read_text().splitlines()]
    assert rows[0] == {"order_id": "first", "amount": 0.5, "count": 1, "late": True}


def test_a_reference_is_declared_read_and_described_apart_from_what_is_processed(
    render: Render,
) -> None:
    module = render(
        execution_mode="pipeline",
        inputs={"photos": "media_set", "unit-prices": "reference"},
        outputs={"found": "dataset"},
    )
    declared = json.loads((module / "src/resources.json").read_text())["inputs"]
    assert declared == {"photos": "media_set", "unit-prices": "reference"}
    samples = sorted(str(path.relative_to(module)) for path in module.glob("data/*/*"))
    assert samples == ["data/photos/sample.png", "data/unit-prices/sample.jsonl"]
    assert 'UNIT_PRICES = reference("unit-prices")' in (module / "src/app.py").read_text()
    assert 'INPUT = "photos"' in (module / "tests/test_app.py").read_text()
    assert "| `unit-prices` | reference, input |" in (module / "README.md").read_text()
    assert "under the alias `unit-prices`" in (module / "DEPLOY.md").read_text()


@pytest.mark.parametrize(
    ("answers", "format", "sample"),
    [
        (LISTS, "parquet", "sample.jsonl"),
        (EMBEDDING, "parquet", "sample.jsonl"),
        ({"example": "yolo"}, "csv", "sample.png"),
    ],
    ids=str,
)
def test_output_format_and_sample_fit_what_is_processed(
    render: Render, answers: dict[str, Any], format: str, sample: str
) -> None:
    module = render(execution_mode="pipeline", **answers)
    assert json.loads((module / "src/resources.json").read_text())["output_format"] == format
    assert [path.name for path in (module / "data/input").iterdir()] == [sample]


def test_an_update_keeps_what_the_owner_changed(tmp_path: Path) -> None:
    source = snapshot(tmp_path / "template", "v1.0.0")
    module = tmp_path / "module"
    run_copy(str(source), module, {"execution_mode": "pipeline"}, defaults=True, quiet=True)
    edits = {
        "src/app.py": ("pa.repeat(0,", "pa.repeat(7,"),
        "src/resources.json": ('"csv"', '"parquet"'),
    }
    for name, (before, after) in edits.items():
        file = module / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
    (module / "data/input/sample.jsonl").unlink()
    commit(module, "the owner's edits")
    [glue] = source.glob("template/src/cmkit/*/loop.py*")
    glue.write_text(glue.read_text().replace("HEARTBEAT_SECONDS = 60", "HEARTBEAT_SECONDS = 30"))
    commit(source, "a later version")
    git(source, "tag", "v1.1.0")
    run_update(module, defaults=True, overwrite=True, quiet=True)
    assert "HEARTBEAT_SECONDS = 30" in (module / "src/cmkit/pipelines/loop.py").read_text()
    assert all(after in (module / name).read_text() for name, (_, after) in edits.items())
    assert not (module / "data/input/sample.jsonl").exists()


REFUSED = [
    ({"example": "search"}, "answers calls, so it needs execution_mode function"),
    ({"inputs": {}}, "Name at least one, such as {orders: dataset}."),
    ({"inputs": {"Orders": "dataset"}}, '"Orders" is no usable alias'),
    (
        {"inputs": {"orders": "table"}},
        'Use dataset, stream, media_set or reference for "orders", not table.',
    ),
    ({"inputs": {"a": "reference"}}, "Name one that is processed too, such as {orders: dataset}."),
    (
        {"inputs": {"a": "media_set", "b": "reference", "c": "stream"}},
        "Use media_set for every input or for none",
    ),
    ({"outputs": {"a": "reference"}}, 'Use dataset or stream for "a", not reference.'),
    ({"inputs": {"a": "media_set", "b": "dataset"}}, "Use media_set for every input or for none"),
    (
        EMBEDDING | {"inputs": {"a": "media_set"}},
        "Use dataset or stream for every input: embedding",
    ),
    ({"example": "yolo", "inputs": {"a": "dataset"}}, "Use media_set for every input: yolo looks"),
    ({"outputs": {"a": "media_set"}}, 'Use dataset or stream for "a", not media_set.'),
    (
        EMBEDDING | {"weights_strategy": "downloaded", "weights_origin": "foundry"},
        "needs weights_strategy baked",
    ),
    ({"outputs": {"input": "dataset"}}, '"input" is taken'),
    ({"outputs": {"x-errors": "dataset"}}, '"x-errors" is taken'),
    ({"poll_seconds": 0}, "Give 1 to 86400 seconds."),
    (
        {"payload_fields": "{lines: list[{sku: str}]}"},
        "lines: use str, int, float, bool or list[str]",
    ),
    (
        {"result_fields": {"author": {"name": "str"}}},
        "author: use str, int, float, bool or list[str]",
    ),
    ({"result_fields": {"record_key": "str"}}, "record_key: use another name"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_bad_answer_is_refused_with_its_reason(
    render: Render, answers: dict[str, Any], reason: str
) -> None:
    with pytest.raises((ValueError, CopierError)) as refused:
        render(execution_mode="pipeline", **answers)
    assert reason in str(refused.value)
    shown = str(refused.value).removeprefix("Validation error for question")
    assert len(shown.partition(": ")[2]) <= 77
