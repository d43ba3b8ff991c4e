"""Fixtures: the working tree as a released template, modules rendered from it, isolation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy

from tests.containers import containers, registry  # noqa: F401  (fixtures)

REPOSITORY = Path(__file__).parent.parent
# What needs a terminal, a shell or a signal of Unix, and what shows faults that Linux alone has.
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Foundry runs modules on Linux")
QUESTIONS = set(yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8")))


def pytest_configure() -> None:
    """Hear of the signals that a shell ignores for what runs in its background, or under nohup.

    What a test starts would ignore them as well.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each core: most of a test's time is spent waiting for a module to start."""
    return 2 * (os.cpu_count() or 1)


def git(folder: Path, *args: str) -> str:
    """Run git in a folder; a failure shows git's own words."""
    done = subprocess.run(["git", *args], cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything in a folder, which becomes a repository where it is none."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    # The demo and the benchmarks run where git knows nobody yet.
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    git(
        folder,
        *nobody,
        "-c",
        "commit.gpgsign=false",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        message,
    )


def copy_working_tree(folder: Path) -> None:
    """Copy the working tree, without what git ignores."""
    listed = git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for name in filter(None, listed):
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)


def replace_with_working_tree(repository: Path) -> None:
    """Make the files of a repository those of the working tree."""
    git(repository, "rm", "-q", "-r", ".")
    copy_working_tree(repository)


def release(repository: Path, tag: str) -> Path:
    """Tag a repository's last commit; its objects are one file, as in what a host sends, to clone fast."""
    git(repository, "tag", tag)
    git(repository, "repack", "-a", "-d", "-q")
    return repository


def snapshot(folder: Path, tag: str) -> Path:
    """The working tree as a repository of its own with one tag."""
    copy_working_tree(folder)
    commit(folder, "the working tree")
    return release(folder, tag)


@pytest.fixture(autouse=True, scope="session")
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the developer's git configuration, Copier settings and caches out of the tests."""
    home = tmp_path_factory.mktemp("home")
    (home / "settings.yml").write_text("{}\n")
    os.environ.update(
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        COPIER_SETTINGS_PATH=str(home / "settings.yml"),
        COPIER_CACHE_DIR=str(home / "cache"),
        # What mypy found out about the packages serves the next module too.
        MYPY_CACHE_DIR=str(home / "mypy"),
        **{
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "test"), ("EMAIL", "test@example.com"))
        },
    )


@pytest.fixture(scope="session")
def template(_isolated: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree as version 1000.0.0 of the template."""
    return snapshot(tmp_path_factory.mktemp("template"), "v1000.0.0")


Render = Callable[..., Path]


def typed(answers: dict[str, Any]) -> dict[str, Any]:
    """Answers as people type them: mappings and lists are text, and JSON is one way to write it."""
    structures = (dict, list)
    return {
        name: json.dumps(answer) if isinstance(answer, structures) else answer
        for name, answer in answers.items()
    }


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render a module with the default answers and those given, trusting the template with nothing."""

    def run(folder: Path | None = None, **answers: Any) -> Path:
        unknown = answers.keys() - QUESTIONS
        assert not unknown, f"copier.yml asks no {unknown}"
        target = folder or tmp_path_factory.mktemp("module")
        data = typed(answers)
        run_copy(str(template), target, data=data, defaults=True, quiet=True, overwrite=True)
        return target

    return run


@pytest.fixture(scope="session")
def search_module(render: Render) -> Path:
    """A module with the default answers; tests must not change it."""
    return render(module_name="parts-search")
