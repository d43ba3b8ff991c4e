"""The checks of a commit run from .venv: behind a mirror, and with the versions of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import yaml

from foundry_cm.cli import VERBS
from tests.conftest import REPOSITORY
from tests.ranges import of_the_tool


def test_no_check_of_a_commit_fetches_anything() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [source["repo"] for source in config["repos"]] == ["local"]
    hooks = [hook for source in config["repos"] for hook in source["hooks"]]
    known = {requirement.name for requirement in of_the_tool()}
    for hook in hooks:
        folder, _, tool = hook["entry"].partition(" ")[0].rpartition("/")
        assert (hook["language"], folder) == ("system", ".venv/bin"), hook["id"]
        assert tool in known, hook["id"]


def test_hook_that_other_repositories_use_is_one_that_pre_commit_takes() -> None:
    manifest = REPOSITORY / ".pre-commit-hooks.yaml"
    command = (sys.executable, "-m", "pre_commit", "validate-manifest", str(manifest))
    assert subprocess.run(command).returncode == 0
    [hook] = yaml.safe_load(manifest.read_text("utf-8"))
    tool, verb = hook["entry"].split()
    assert (tool, verb in VERBS, hook["pass_filenames"]) == ("cm", True, False)
