"""The ranges of versions: each library has one, wherever it is asked for."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import REPOSITORY, Render

# torch is what the card asks for; the models' own tests pin it.
BY_ANSWER = {"torch", "foundry-cm"}
ANSWERS = [
    {},
    {"example": "embedding", "weights_strategy": "downloaded"},
    {"example": "yolo"},
    {"execution_mode": "pipeline", "example": "embedding", "weights_strategy": "downloaded"},
]


def of_the_tool() -> Iterator[Requirement]:
    """What the tool and its tests ask for."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    groups = [
        settings["project"]["dependencies"],
        *settings["project"]["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    yield from (Requirement(line) for group in groups for line in group)


def of_a_module(folder: Path) -> Iterator[Requirement]:
    """What the files of requirements of a module ask for."""
    for file in folder.glob("requirements*.txt"):
        lines = [line.split(" #")[0].strip() for line in file.read_text().splitlines()]
        yield from (Requirement(line) for line in lines if line and line[0] not in "#-")


def test_each_library_has_one_range(render: Render) -> None:
    ranges = defaultdict[str, set[str]](set)
    modules = [render(**answers) for answers in ANSWERS]
    for asked in [of_the_tool(), *map(of_a_module, modules)]:
        for requirement in asked:
            if requirement.specifier:
                ranges[requirement.name].add(str(requirement.specifier))
    assert {
        name: found
        for name, found in ranges.items()
        if len(found) > 1 and name not in BY_ANSWER
    } == {}  # fmt: skip
