"""The template with versions to update from and to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy, run_recopy, run_update

from tests.conftest import REPOSITORY, commit, git, release, replace_with_working_tree

# The end of each file that the template and the owner both write.
LAST_LINE = "What is yours goes below this line"
# The first commit that takes today's answers; nothing was released before.
QUESTIONS_AS_TEXT = ("--diff-filter=A", "--", "partials/readme/base.md.jinja")
FIRST = git(REPOSITORY, "log", "--format=%H", *QUESTIONS_AS_TEXT).split()[-1]
quiet_copy = partial(run_copy, defaults=True, quiet=True)
quiet_recopy = partial(run_recopy, defaults=True, overwrite=True, quiet=True)
quiet_update = partial(run_update, defaults=True, overwrite=True, quiet=True)


def history_in(repository: Path) -> Path:
    """This repository with its releases, the first commit as v0.0.1, the working tree as v1000.0.0."""
    git(repository, "clone", "-q", str(REPOSITORY), ".")
    git(repository, "tag", "-f", "v0.0.1", FIRST)
    replace_with_working_tree(repository)
    commit(repository, "the working tree")
    return release(repository, "v1000.0.0")


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with its versions."""
    return history_in(tmp_path_factory.mktemp("history"))


@pytest.fixture
def next_version(history: Path, tmp_path: Path) -> Path:
    """A template with one more version, v1001.0.0, that changes each file of the template."""
    repository = tmp_path / "next"
    git(tmp_path, "clone", "-q", str(history), str(repository))
    edits: dict[str, Callable[[str], str]] = {
        "template/src/cmkit/**/*.py": lambda text: text + "\n# The next version.\n",
        "template/Dockerfile.jinja": lambda text: text.replace(
            "WORKDIR /app", "LABEL next=version\nWORKDIR /app"
        ),
        "template/pyproject.toml.jinja": lambda text: text.replace('"SIM", ', '"SIM", "PERF", '),
        "partials/readme/base.md.jinja": lambda text: text.replace("## Run it", "## How to run it"),
        "template/requirements-dev.txt.jinja": lambda text: text.replace(
            "pytest>=8.4", "pytest>=8.4.1"
        ),
        "template/.gitignore.jinja": lambda text: "# What git leaves alone.\n" + text,
    }
    for name, edit in edits.items():
        files = list(repository.glob(name))
        assert files, name
        for file in files:
            before = file.read_text()
            file.write_text(edit(before))
            assert file.read_text() != before, name
    listed = git(repository, "ls-files", "-z", "template", "partials").split("\0")
    for file in (repository / name for name in listed if name):
        *lines, last = file.read_bytes().splitlines(keepends=True) or [b""]
        if LAST_LINE.encode() in last:
            block = b"<!-- A new block. -->" if b"<!--" in last else b"# A new block."
            file.write_bytes(b"".join(lines) + block + b"\n\n" + last)
    commit(repository, "the next version")
    return release(repository, "v1001.0.0")


def module_of(template: Path, folder: Path, version: str, answers: dict[str, Any]) -> Path:
    """A module of some version, committed."""
    quiet_copy(str(template), folder, data={"module_name": "mine", **answers}, vcs_ref=version)
    commit(folder, "as rendered")
    return folder
