"""No test that is written can be left out without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def count(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.counts", str(project)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with three cases in two folders."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    for name in ("cli", "template"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / f"test_{name}.py").write_text("def test_it(): pass\n")
    more = "class TestMore:\n    def test_more(self): pass\n"
    (tmp_path / "tests" / "cli" / "test_more.py").write_text(more)
    return tmp_path


def test_cases_are_counted_by_folder(project: Path) -> None:
    done = count(project)
    told = "    2 tests/cli\n    1 tests/template\n    3 cases\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


@pytest.mark.parametrize(
    ("file", "text", "lost"),
    [
        ("pyproject.toml", 'norecursedirs = ["template"]', "tests/template/test_template.py: test_it"),
        ("pyproject.toml", "addopts = '-k more'", "tests/cli/test_cli.py: test_it"),
        ("tests/conftest.py", "collect_ignore = ['template']", "tests/template/test_template.py: test_it"),
        ("tests/cli/checks.py", "def test_of_no_file(): pass", "tests/cli/checks.py: test_of_no_file"),
        ("tests/cli/test_more.py", "class Odd:\n    def test_odd(self): pass", "tests/cli/test_more.py: test_odd"),
    ],
)  # fmt: skip
def test_what_is_written_and_not_collected_is_an_error(
    project: Path, file: str, text: str, lost: str
) -> None:
    with (project / file).open("a") as written:
        written.write(text + "\n")
    done = count(project)
    assert done.returncode == 1
    assert f"error: {lost} is never run: pytest collects no case of it\n" in done.stderr


def test_parameters_that_come_to_nothing_are_an_error(tmp_path: Path) -> None:
    """pytest itself would skip such a test."""
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n\n@pytest.mark.parametrize('x', [])\ndef test_it(x): pass\n")
    settings = str(REPOSITORY / "pyproject.toml")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        settings,
        "--rootdir",
        str(tmp_path),
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Empty parameter set in 'test_it'" in done.stdout
