"""The tool's own files: none is long, none imports upwards, and no two import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "foundry_cm"
MOST_LINES = 400
# The lowest first. A module imports from its own layer and from those before it.
LAYERS = [
    {"errors"},
    {"module"},
    {"enrollment"},
    {"local", "image", "weights", "checks"},
    {"testing", "load"},
    {"cli", "pytest_plugin"},
    {"__main__"},
]


def modules(package: Path) -> dict[str, Path]:
    """The files of a package, by the names they are imported by."""
    return {
        ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): file
        for file in sorted(package.rglob("*.py"))
    }


def imported(name: str, file: Path) -> Iterator[str]:
    """Each dotted name that a module imports, inside functions as well."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def graph(package: Path) -> dict[str, set[str]]:
    """The modules of a package that each of them imports."""
    known = modules(package)
    return {
        name: {
            target
            for wanted in imported(name, file)
            for target in [wanted if wanted in known else wanted.rpartition(".")[0]]
            if target in known
        }
        for name, file in known.items()
    }


def layer(name: str) -> int:
    """The layer of a module, of which the second part of its name decides."""
    parts = name.split(".")
    # The package itself holds the version, which all may read.
    return -1 if len(parts) == 1 else next(n for n, names in enumerate(LAYERS) if parts[1] in names)


def circle(package: Path) -> list[str]:
    """Modules that import each other in a circle, if there are any."""
    try:
        TopologicalSorter(graph(package)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def upwards(package: Path) -> set[tuple[str, str]]:
    """Each import of a higher layer."""
    return {
        (name, target)
        for name, targets in graph(package).items()
        for target in targets
        if layer(target) > layer(name)
    }


def test_no_file_of_the_tool_is_too_long_to_be_read_in_one_go() -> None:
    lines = {
        name: len(file.read_text("utf-8").splitlines()) for name, file in modules(PACKAGE).items()
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(PACKAGE) == []


def test_no_module_imports_from_a_higher_layer() -> None:
    assert upwards(PACKAGE) == set()


def test_each_layer_is_there() -> None:
    assert set().union(*LAYERS) == {
        name.split(".")[1] for name in modules(PACKAGE) if name.count(".")
    }


@pytest.mark.parametrize(
    "line",
    ["from foundry_cm.cli import main", "import foundry_cm.cli", "from .cli import main", "from . import cli"],
)  # fmt: skip
def test_an_import_is_seen_however_it_is_written(tmp_path: Path, line: str) -> None:
    package = tmp_path / "foundry_cm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("from foundry_cm import errors\n")
    (package / "errors.py").write_text(f"def later():\n    {line}\n")
    assert upwards(package) == {("foundry_cm.errors", "foundry_cm.cli")}
    assert set(circle(package)) == {"foundry_cm.errors", "foundry_cm.cli"}
