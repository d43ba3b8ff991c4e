"""The ranges of versions: each library has one, wherever it is asked for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY, Render
from tests.ranges import named, of_the_tool

# torch is what the card asks for; the models' own tests pin it.
BY_ANSWER = {"torch", "foundry-cm"}
ANSWERS = [
    {},
    {"example": "embedding", "weights_strategy": "downloaded"},
    {"example": "yolo"},
    {"execution_mode": "pipeline", "example": "embedding", "weights_strategy": "downloaded"},
    {"ci": "github"},
    {"ci": "gitlab"},
]


def of_a_module(folder: Path) -> Iterator[Requirement]:
    """What the files of requirements of a module ask for, and its CI."""
    for file in folder.glob("requirements*.txt"):
        lines = [line.split(" #")[0].strip() for line in file.read_text().splitlines()]
        yield from (Requirement(line) for line in lines if line and line[0] not in "#-")
    for file in [*folder.glob(".github/workflows/*"), *folder.glob(".gitlab-ci.yml")]:
        quoted = re.findall('pip install "(.+?)"', file.read_text())
        yield from map(Requirement, quoted)


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


def test_copier_is_no_older_than_the_template_needs() -> None:
    oldest = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))["_min_copier_version"]
    (copier,) = named("copier")
    assert copier == f"copier<10,>={oldest}"
