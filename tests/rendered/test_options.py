"""Modules with Sources and permissions: formatted, linted, typed, and their own tests pass."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Render
from tests.rendered.test_rendered import run, toolbox

pytestmark = pytest.mark.slow

REST = {"name": "PartsApi", "secrets": ["webhookKey"]}
S3 = {"name": "PartsBucket", "kind": "s3"}
GENERIC = {"name": "Erp", "kind": "generic", "secrets": ["user"]}


@pytest.mark.parametrize(
    "answers",
    [
        {"sources": [REST, S3, GENERIC], "permissions": "application", "python_version": "3.11"},
        {"sources": ["Api"], "python_version": "3.13"},
        {"sources": [S3], "python_version": "3.13"},
        {"sources": [{"name": "Erp", "kind": "generic"}], "python_version": "3.13"},
        {"sources": [GENERIC, S3], "permissions": "application", "python_version": "3.13"},
    ],
    ids=str,
)
def test_module_with_sources_and_permissions(render: Render, answers: dict[str, Any]) -> None:
    module = render(example="blank", **answers)
    everything = render(
        example="blank", **answers | {"sources": [REST], "permissions": "application"}
    )
    python = toolbox(answers["python_version"], everything / "requirements-dev.txt")
    run(python, module, "ruff", "format", "--check", ".")
    run(python, module, "ruff", "check", ".")
    run(python, module, "mypy")
    assert " passed" in run(python, module, "pytest").stdout
