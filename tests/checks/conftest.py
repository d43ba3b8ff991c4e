"""Modules of the template that this foundry-cm carries, as its wheel would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy

from foundry_cm import checks
from foundry_cm.checks import Finding, carried
from foundry_cm.checks.carried import Carried, archive
from tests.conftest import commit
from tests.template.conftest import history, next_version  # noqa: F401  (fixtures)

Make = Callable[..., Path]


def carry(monkeypatch: pytest.MonkeyPatch, template: Path) -> None:
    """Make this foundry-cm the one of a template."""
    content = archive(template)
    assert content
    monkeypatch.setattr(carried, "find", lambda: Carried(content))


@pytest.fixture(autouse=True)
def _tool_of_the_template(monkeypatch: pytest.MonkeyPatch, template: Path) -> None:
    carry(monkeypatch, template)


@pytest.fixture
def make(template: Path, tmp_path: Path) -> Make:
    """Make a module of the template, committed; `source` is another template."""

    def run(*, source: Path = template, **answers: Any) -> Path:
        module = tmp_path / "module"
        run_copy(str(source), module, data=answers, defaults=True, quiet=True)
        commit(module, "as rendered")
        return module

    return run


def found(module: Path) -> dict[str, Finding]:
    """What the checks find, by name."""
    return {finding.name: finding for finding in checks.run(module)}


def only(module: Path) -> Finding:
    """The one thing that the checks find."""
    [finding] = checks.run(module)
    return finding


def append(file: Path, text: str) -> None:
    """Add to the end of a file."""
    file.write_text(file.read_text() + text)
