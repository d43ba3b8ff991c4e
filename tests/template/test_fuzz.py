"""Answers that nobody thought of: what is accepted renders a sound module, what is refused says why.

FUZZ=10 tries ten times as many (`make fuzz`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier.errors import CopierError

from foundry_cm.module.project import Project
from tests.conftest import Render

pytestmark = pytest.mark.slow

BATCHES = range(10 * int(os.environ.get("FUZZ", "1")))
VALID, INVALID = 32, 14
SCALARS = ["str", "int", "float", "bool"]
# Names that Python, its library or the module itself knows too.
WORDS = [
    "time",
    "json",
    "data",
    "value",
    "match",
    "type",
    "id",
    "camelCase",
    "Records",
    "load_1",
    "x_",
    "event_",
]
Dice = random.Random


def names(dice: Dice) -> Iterator[str]:
    """Names of fields, each once, some of them long."""
    for number in range(1000):
        yield f"{dice.choice(WORDS)}{'n' * dice.choice([0, 0, 0, 14])}{number}"


def fields(dice: Dice, depth: int) -> str:
    """Fields of a record as people type them."""
    name = names(dice)
    return (
        f"{{{', '.join(f'{next(name)}: {kind(dice, depth)}' for _ in range(dice.randint(1, 5)))}}}"
    )


def kind(dice: Dice, depth: int) -> str:
    """The type of a field."""
    inner = fields(dice, depth - 1) if depth and dice.random() < 0.4 else dice.choice(SCALARS)
    return f"list[{inner}]" if dice.random() < 0.3 and (depth or inner in SCALARS) else inner


def columns(dice: Dice) -> str:
    """Columns of a pipeline."""
    name = names(dice)
    kinds = [dice.choice([*SCALARS, "list[str]"]) for _ in range(dice.randint(1, 5))]
    return f"{{{', '.join(f'{next(name)}: {kind}' for kind in kinds)}}}"


def aliases(dice: Dice, kinds: list[str], prefix: str) -> str:
    """Inputs or outputs of a pipeline."""
    named = [f"{prefix}-{number}: {dice.choice(kinds)}" for number in range(dice.randint(1, 3))]
    if prefix == "in":
        names = ["i", "o", "prices", "x" * 50, "a-b-c", "none"]
        chosen = dice.sample(names, dice.choice([0, 0, 1, 2]))
        named = dice.sample(
            [*named, *(f"{name}: reference" for name in chosen)], len(named + chosen)
        )
    return f"{{{', '.join(named)}}}"


def sources(dice: Dice) -> str:
    """Sources, with and without a kind and secrets."""
    written = [
        dice.choice(
            [
                f"Source{number}",
                f"{{name: my-api-{number}, kind: {dice.choice(['rest', 's3', 'generic'])}}}",
                f"{{name: Erp{number}, kind: generic, secrets: [apiKey{number}, 'pass-word']}}",
            ]
        )
        for number in range(dice.randint(0, 3))
    ]
    return f"[{', '.join(written)}]"


def answers_of(dice: Dice) -> dict[str, Any]:
    """Answers that belong together."""
    mode = dice.choice(["function", "pipeline"])
    example = dice.choice(["blank", "blank", "embedding", "yolo"])
    found: dict[str, Any] = {
        "execution_mode": mode,
        "example": example,
        "module_name": f"m{dice.randint(0, 99)}-{'x' * dice.randint(1, 40)}",
        "description": dice.choice(
            ["Plain.", 'Says "hi" \\ {{ 1 }} #é😀', "*_`|<b>", "'", "x" * 200]
        ),
        "sources": sources(dice),
        "ci": dice.choice(["none", "github", "gitlab"]),
        "python_version": dice.choice(["3.11", "3.12", "3.13", "3.14"]),
        "multi_stage": dice.random() < 0.5,
        "enrollment_host": dice.choice(["", "acme.palantirfoundry.com"]),
    }
    if mode == "pipeline":
        kinds = {"yolo": ["media_set"], "embedding": ["dataset", "stream"]}
        chosen = kinds.get(example) or dice.choice([["dataset", "stream"], ["media_set"]])
        found["inputs"] = aliases(dice, chosen, "in")
        found["outputs"] = aliases(dice, ["dataset", "stream"], "out")
        found["poll_seconds"] = dice.randint(1, 86400)
    else:
        found["permissions"] = (
            "application" if example == "yolo" else dice.choice(["none", "application"])
        )
        found["min_replicas"] = dice.randint(0, 3)
        found["max_replicas"] = dice.randint(3, 5)
    if example == "blank":
        rows = mode == "pipeline"
        found["payload_fields"] = columns(dice) if rows else fields(dice, 2)
        found["result_fields"] = columns(dice) if rows else fields(dice, 2)
        if not rows:
            found["function_name"] = (
                f"{dice.choice(['run', 'f', 'json', 'time', 'do_it'])}_{dice.randint(0, 9)}"
            )
            found["returns_list"] = dice.random() < 0.5
    else:
        found["gpu"] = dice.choice(["none", "t4", "v100", "h100"])
        found["weights_strategy"] = dice.choice(["baked", "downloaded"])
        origins = ["huggingface", "https"]
        if found["weights_strategy"] == "baked":
            origins.append("folder")
            found["weights_folder"] = dice.choice(["../a b", "C:\\m\\e5", '~/"é"/$x', "/mnt/m"])
        found["weights_origin"] = dice.choice(origins)
        found["torch_index"] = dice.choice(
            ["", "https://a.b:8443/x/{build}", "https://a.b/simple/"]
        )
    return found


def test_what_is_accepted_is_parsed_formatted_and_linted(
    render: Render, tmp_path: Path, batch: int
) -> None:
    dice = random.Random(batch)
    for number in range(VALID):
        answers = answers_of(dice)
        module = render(tmp_path / str(number), **answers)
        assert Project.read(module).settings.image == answers["module_name"]
        stored = yaml.safe_load((module / ".copier-answers.yml").read_text("utf-8"))
        assert {name: stored[name] for name in answers if name in stored} == {
            name: answer for name, answer in answers.items() if name in stored
        }
        for file in [*module.rglob("*.yml"), *module.rglob(".github/**/*.yml")]:
            yaml.safe_load(file.read_text("utf-8"))
        for file in [*module.glob("events/*.json"), *module.glob("src/resources.json")]:
            json.loads(file.read_text("utf-8"))
    ruff(tmp_path, "check", ".")
    ruff(tmp_path, "format", "--check", ".")
    # A module's settings leave out the template's files, which are written for the oldest Python.
    own = [str(folder.relative_to(tmp_path)) for folder in tmp_path.glob("*/src/cmkit")]
    ruff(tmp_path, "format", "--check", "--target-version", "py311", *own)


def ruff(folder: Path, *args: str) -> None:
    """Run ruff, which must find nothing."""
    command = [sys.executable, "-m", "ruff", *args, "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# What has no place in a name, an address or a path, and would do harm in a file that is rendered.
NASTY = ["\n", '"', "\\", " ", "\x00", "\t", "\u2028", "..\n", "$(id)\n", "{{ 1 }}"]
WORD = [*NASTY, "'", ";", "`", "/..", "{%"]


def spoiled(good: str, harm: list[str]) -> Callable[[Dice], str]:
    """A good answer with something in it, also at its end."""

    def spoil(dice: Dice) -> str:
        place = dice.choice([0, len(good), dice.randint(0, len(good))])
        return good[:place] + dice.choice(harm) + good[place:]

    return spoil


def one_of(*bad: Any) -> Callable[[Dice], Any]:
    """One of some answers."""
    return lambda dice: dice.choice(bad)


FUNCTION: dict[str, Any] = {"example": "blank"}
MODEL: dict[str, Any] = {"example": "embedding"}
PIPELINE: dict[str, Any] = {"execution_mode": "pipeline", "example": "blank"}
BAD_FIELDS = one_of(
    *(
        "{",
        "}",
        "[]",
        "{}",
        "text",
        "{a}",
        "{a: }",
        "{a: str",
        "{a: str}}",
        "{a: str, a: int}",
        "{a: [str]}",
    ),
    *(
        "{a: dict}",
        "{a: list}",
        "{a: list[dict]}",
        "{a: Any}",
        "{a: str | None}",
        "{1: str}",
        "{a-b: str}",
    ),
    *(
        "{class: str}",
        "{a: {}}",
        "{a: list[]}",
        "{a: {b: datetime}}",
        "{aB: str, a_b: int}",
        "{a: 'x\n'}",
    ),
    *(
        "{order: {line: {x: int}}, order_line: {x: int}}",
        "{a: !!python/name:os.system }",
        "&a {b: *a}",
    ),
)
INVALID_ANSWERS: dict[str, tuple[dict[str, Any], Callable[[Dice], Any]]] = {
    "module_name": (FUNCTION, spoiled("parts-search", WORD)),
    "description": (FUNCTION, spoiled("What it does.", ["\n", "\x00", "\r", "\u2028", "\x1b[31m"])),
    "function_name": (FUNCTION, spoiled("classify", WORD)),
    "payload_fields": (FUNCTION, BAD_FIELDS),
    "result_fields": (PIPELINE, BAD_FIELDS),
    "inputs": (
        PIPELINE,
        one_of(
            "{}",
            "{A: dataset}",
            "{a: table}",
            "{a: dataset, a: stream}",
            "{a_b: dataset}",
            "{a: reference}",
            "{a: dataset, b: references}",
            "[a]",
            "{../a: dataset}",
        ),
    ),
    "outputs": (
        PIPELINE,
        one_of(
            "{}",
            "{input: dataset}",
            "{a: media_set}",
            "{a-errors: dataset}",
            "a",
        ),
    ),
    "sources": (
        FUNCTION,
        one_of(
            "[1]",
            "[{}]",
            "[a b]",
            "[{name: A, kind: x}]",
            "[{name: A, secrets: b}]",
            "[{name: A, more: b}]",
            "[A, A]",
            "[time, os]",
            "A",
            "[import]",
        ),
    ),
    "weights_repo": (MODEL, spoiled("acme/e5", WORD)),
    "weights_revision": (MODEL, spoiled("main", WORD)),
    "weights_url": (
        MODEL | {"weights_origin": "https"},
        spoiled("https://example.org/m/", [*WORD, "?a=b", "#", "%2e%2e"]),
    ),
    "weights_files": (
        MODEL | {"weights_origin": "https"},
        one_of(
            "[]",
            "a",
            "[../a]",
            "[/etc/passwd]",
            "[a, a]",
            "[a, A]",
            "[a, a/b]",
            "['a\\b']",
            "[C:/a]",
            '["a\\0"]',
            "{a: b}",
        ),
    ),
    "weights_dataset": (
        MODEL | {"weights_origin": "foundry"},
        spoiled("ri.foundry.main.dataset.1", NASTY),
    ),
    "weights_branch": (
        MODEL | {"weights_origin": "foundry"},
        spoiled("master", ["\n", '"', "\\", " ", "\x00", "\t"]),
    ),
    "weights_folder": (
        MODEL | {"weights_origin": "folder"},
        spoiled("/mnt/models/e5", ["\n", "\x00", "\x1b", "\u2028", "\t"]),
    ),
    "torch_index": (
        MODEL,
        spoiled("https://mirror/{build}", [*WORD, "?a=b", "#", "{x}", " --pre"]),
    ),
    "weights_source": (MODEL | {"weights_strategy": "downloaded"}, spoiled("Hub", WORD)),
    "enrollment_host": (
        FUNCTION,
        spoiled("acme.palantirfoundry.com", [*WORD, "https://", ":443", "/x"]),
    ),
    "poll_seconds": (PIPELINE, one_of(0, -1, 86401, "soon", 1.5)),
    "max_replicas": (FUNCTION, one_of(0, -1, "many")),
    "python_version": (FUNCTION, one_of("3.10", "3", "", "latest\n")),
    # What follows from other answers.
    "has_model": (FUNCTION, one_of(True)),
    "handler": (FUNCTION, one_of("x\n")),
    "owners": (FUNCTION, one_of({"replaced": ["/"]})),
    "parsed": (FUNCTION, one_of({"sources": []})),
}


def refusal(render: Render, module: Path, answers: dict[str, Any]) -> str:
    """Why the template refuses answers; empty where it takes them."""
    try:
        render(module, **answers)
    except (CopierError, ValueError) as error:
        return str(error)
    return ""


def test_what_is_refused_says_why_and_leaves_nothing(
    render: Render, tmp_path: Path, batch: int
) -> None:
    dice = random.Random(batch)
    for number in range(INVALID):
        question = dice.choice(list(INVALID_ANSWERS))
        answers, bad = INVALID_ANSWERS[question]
        answers = answers | {question: bad(dice)}
        module = tmp_path / str(number)
        assert len(refusal(render, module, answers).removeprefix("Invalid input")) > 20, answers
        assert not module.exists() or not list(module.iterdir()), answers


@pytest.fixture(params=BATCHES)
def batch(request: pytest.FixtureRequest) -> int:
    """A seed."""
    return int(request.param)
