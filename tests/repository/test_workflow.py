"""The workflow of this repository runs what `make` runs, on each Python that the tool admits."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

WORKFLOW = REPOSITORY / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return found


def supported() -> list[str]:
    """The Pythons that the tool says it supports."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(settings["project"]["classifiers"]), re.M)
    assert settings["project"]["requires-python"] == f">={named[0]}"
    return named


def test_the_fast_tests_run_on_each_python_and_system(jobs: dict[str, Any]) -> None:
    matrix = jobs["fast"]["strategy"]["matrix"]
    assert matrix["python"] == supported()
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]


def test_the_fast_tests_are_those_of_make(jobs: dict[str, Any]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    selected = re.search(r"^test-fast:.*\n\t\$\(RUN\) (.+)$", makefile, re.M)
    assert selected
    assert jobs["fast"]["steps"][-1]["run"] == f"python -m {selected[1]}"


def test_everything_has_each_python_to_run_modules_with(jobs: dict[str, Any]) -> None:
    (versions,) = (
        step["with"]["python-version"]
        for step in jobs["everything"]["steps"]
        if "python-version" in step.get("with", {})
    )
    assert sorted(versions.split()) == supported()


def test_the_lowest_versions_run_on_the_lowest_python(jobs: dict[str, Any]) -> None:
    *_, python, command = jobs["lowest"]["steps"]
    assert python["with"]["python-version"] == supported()[0]
    assert command["run"] == "make test-lowest"
