"""Count the cases that pytest finds, by folder, and end with 1 where a test that is written is not found.

    python -m tests.counts [PROJECT]

What is written is read from the files themselves: a setting that hides a folder from pytest hides
nothing from here.
"""

from __future__ import annotations

import ast
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

Test = tuple[Path, str]
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class Collected:
    """A plugin that keeps what pytest would run."""

    def __init__(self) -> None:
        self.items: list[Test] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the file and the function of each case."""
        self.items = [(item.path, item.name.partition("[")[0]) for item in session.items]


def written(folder: Path) -> Iterator[Test]:
    """Each test function in the Python files below a folder, whatever the files are called."""
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for body in (tree.body, *(node.body for node in classes)):
            for node in body:
                name = getattr(node, "name", "")
                if isinstance(node, _FUNCTION) and name.startswith("test_"):
                    yield path, name


def problems(folder: Path, collected: Sequence[Test]) -> list[str]:
    """Each test that is written below a folder and gives no case."""
    found = set(collected)
    return [
        f"{path.relative_to(folder.parent)}: {name} is never run: pytest collects no case of it"
        for path, name in written(folder)
        if (path, name) not in found
    ]


def collect() -> list[Test]:
    """What `pytest` would run in this folder, with the settings of the project and no others."""
    plugin, said = Collected(), StringIO()
    with redirect_stdout(said):
        code = pytest.main(["--collect-only"], [plugin])
    if code is not pytest.ExitCode.OK:
        sys.exit(said.getvalue() + "error: pytest does not collect the tests")
    return plugin.items


def main() -> None:
    """Print the count of each folder, then what is lost."""
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    tests = Path.cwd() / "tests"
    collected = collect()
    by_folder = Counter(path.parent.relative_to(tests.parent) for path, _ in collected)
    for folder, count in sorted(by_folder.items()):
        print(f"{count:5} {folder.as_posix()}")
    print(f"{len(collected):5} cases")
    found = problems(tests, collected)
    for text in found:
        print(f"error: {text}", file=sys.stderr)
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
