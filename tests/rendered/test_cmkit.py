"""The template's own files in a module: tidy by its settings, and out of reach of other ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Render, commit, git

EVERY_PART = [
    {"example": "yolo", "weights_strategy": "downloaded", "gpu": "t4", "sources": "[GithubApi]"},
    {"example": "embedding", "weights_strategy": "downloaded", "weights_origin": "foundry"},
    {"execution_mode": "pipeline", "inputs": "{a: dataset, b: stream}", "python_version": "3.13"},
    {"execution_mode": "pipeline", "example": "yolo", "weights_strategy": "downloaded"},
    {},
]


def ruff(module: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words], cwd=module, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("answers", EVERY_PART, ids=str)
def test_files_of_the_template_are_formatted_and_linted(
    render: Render, answers: dict[str, Any]
) -> None:
    # A module's settings leave them out; named, ruff reads them all the same.
    module = render(**answers)
    ruff(module, "format", "--check", "src/cmkit")
    # Modules run on Pythons without `def load[Asset]`, and cmkit alone wraps what it forbids others.
    ruff(module, "check", "src/cmkit", "--extend-ignore=UP047,TID251")


@pytest.mark.parametrize("answers", EVERY_PART, ids=str)
def test_formatter_with_other_settings_leaves_the_files_of_the_template_alone(
    render: Render, tmp_path: Path, answers: dict[str, Any]
) -> None:
    module = render(tmp_path / "module", **answers)
    commit(module, "as rendered")
    settings = module / "pyproject.toml"
    text = settings.read_text().replace("line-length = 100", "line-length = 60")
    settings.write_text(text.replace('select = ["B", ', 'select = ["B", "D", "Q", '))
    ruff(module, "format", ".")
    ruff(module, "check", "--fix", "--exit-zero", ".")
    changed = git(module, "diff", "--name-only").split()
    assert {"tests/test_app.py", "src/app.py"} & set(changed)
    assert [file for file in changed if file.startswith("src/cmkit/")] == []
