"""The ranges of versions that pyproject.toml has, for whatever else asks for the same libraries."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def of_the_tool() -> Iterator[Requirement]:
    """What the tool and its tests ask for."""
    with PYPROJECT.open("rb") as file:
        settings = tomllib.load(file)
    groups = [
        settings["project"]["dependencies"],
        *settings["project"]["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    yield from (Requirement(line) for group in groups for line in group)


def named(*names: str) -> list[str]:
    """What the tool asks for of these libraries, as pip takes it."""
    found = {requirement.name: str(requirement) for requirement in of_the_tool()}
    return [found[name] for name in names]
