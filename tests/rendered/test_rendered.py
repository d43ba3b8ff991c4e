"""Rendered modules, treated as their owners treat them: installed, formatted, linted, typed, tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from allpairspy import AllPairs

from tests.conftest import Render
from tests.interpreters import SUPPORTED, interpreter

pytestmark = pytest.mark.slow

NESTED = "{text: str, tags: list[str], author: {name: str}, lines: list[{price: float}]}"
LONG = "a_function_with_quite_a_long_name_in_it"
CHOICES: dict[str, list[Any]] = {
    "python_version": SUPPORTED,
    "example": ["search", "blank"],
    "multi_stage": [False, True],
    "returns_list": [False, True],
    "function_name": ["process", LONG],
    "payload_fields": ["{text: str}", NESTED],
    "result_fields": [NESTED, "{score: float, flags: list[bool]}"],
}
MATRIX = [dict(zip(CHOICES, row, strict=True)) for row in AllPairs(list(CHOICES.values()))]


def describe(answers: dict[str, Any]) -> str:
    """A row of the matrix in a few words."""
    return "-".join(str(value)[:9] for value in answers.values())


@lru_cache
def toolbox(version: str, requirements: Path) -> str:
    """A Python with everything that a module's requirements-dev.txt asks for."""
    return interpreter(version, "-r", str(requirements))


def run(python: str, module: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in a module as `python -m`; a failure shows all of its output."""
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [python, "-m", *command], cwd=module, text=True, capture_output=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("answers", MATRIX, ids=describe)
def test_module_is_formatted_linted_typed_and_passes_its_own_tests(
    render: Render, search_module: Path, answers: dict[str, Any]
) -> None:
    if answers["example"] == "search":
        answers = {key: answers[key] for key in ("python_version", "example", "multi_stage")}
    python = toolbox(answers["python_version"], search_module / "requirements-dev.txt")
    module = render(**answers)
    run(python, module, "ruff", "format", "--check", ".")
    run(python, module, "ruff", "check", ".")
    run(python, module, "mypy")
    tests = run(python, module, "pytest")
    assert " passed" in tests.stdout
    inferred = run(python, module, "compute_modules.bin.static_inference.infer", "src")
    assert len(json.loads(inferred.stdout)) == 1


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("from __future__ import annotations", "TID251"),
        ("from compute_modules.annotations import function", "TID251"),
        ('print("hello")', "T201"),
    ],
)
def test_linter_of_the_module_forbids_what_breaks_it_in_foundry(
    render: Render, tmp_path: Path, line: str, rule: str
) -> None:
    module = render(tmp_path / "module")
    app = module / "src/app.py"
    docstring, rest = app.read_text().split("\n", 1)
    app.write_text(f"{docstring}\n\n{line}\n{rest}")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "src"], cwd=module, text=True, capture_output=True
    )
    assert done.returncode == 1
    assert f"{rule} " in done.stdout


def test_type_checker_of_the_module_refuses_a_result_of_another_type(
    render: Render, search_module: Path, tmp_path: Path
) -> None:
    python = toolbox("3.11", search_module / "requirements-dev.txt")
    module = render(tmp_path / "module", example="blank")
    app = module / "src/app.py"
    app.write_text(app.read_text().replace("length=0", 'length="0"'))
    done = subprocess.run([python, "-m", "mypy"], cwd=module, text=True, capture_output=True)
    assert done.returncode == 1
    assert 'has incompatible type "str"; expected "int"' in done.stdout


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "xdist"])
def test_tests_of_a_module_that_does_not_start_say_why(
    render: Render, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    module = render(tmp_path / "module")
    app = module / "src/app.py"
    app.write_text("import no_such_package\n" + app.read_text())
    command = [sys.executable, "-m", "pytest", *workers]
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=module, text=True, capture_output=True, env=environment)
    assert done.returncode == 1
    assert "No module named 'no_such_package'" in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_tests_of_a_module_find_its_events_from_any_folder(
    search_module: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", str(search_module / "tests")]
    environment = {**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, env=environment)
    assert "test_app.py::test_sample_event_is_answered[search]" in done.stdout
