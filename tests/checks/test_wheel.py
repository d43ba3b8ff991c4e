"""foundry-cm as it is installed: its wheel carries the template of the commit that it is built from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from copier import run_copy

from tests.checks.conftest import append
from tests.conftest import commit, git, snapshot
from tests.interpreters import interpreter, uv

pytestmark = pytest.mark.slow


def test_installed_tool_finds_an_edit_without_template_git_or_network(tmp_path: Path) -> None:
    template = snapshot(tmp_path / "template", "v1000.0.0")
    (template / "docs/more.md").touch()
    commit(template, "one after the tag")
    module = tmp_path / "module"
    run_copy(str(template), module, defaults=True, quiet=True, vcs_ref="HEAD")
    commit(module, "as rendered")
    digits = git(template, "rev-parse", "--short", "HEAD").strip()
    assert f"_commit: v1000.0.0-1-g{digits}\n" in (module / ".copier-answers.yml").read_text()

    # As a package index has it: the wheel is built from the sdist, in which there is no git.
    built = uv("build", "--out-dir", str(tmp_path), str(template))
    assert built.returncode == 0, built.stderr
    shutil.rmtree(template)
    [wheel] = tmp_path.glob("*.whl")
    assert "foundry_cm/local/page/index.html" in ZipFile(wheel).namelist()
    python = interpreter(f"{sys.version_info.major}.{sys.version_info.minor}", str(wheel))

    def check() -> tuple[int, Any]:
        nowhere = {f"{scheme}_PROXY": "http://127.0.0.1:9" for scheme in ("HTTP", "HTTPS", "ALL")}
        done = subprocess.run(
            [Path(python).with_name("cm"), "check", "--format", "json"],
            cwd=module,
            env={**os.environ, **nowhere, "GIT_ALLOW_PROTOCOL": "none"},
            text=True,
            capture_output=True,
        )
        return done.returncode, json.loads(done.stdout)

    assert check() == (0, {"findings": []})
    append(module / "src/cmkit/startup.py", "# mine\n")
    code, report = check()
    [finding] = report["findings"]
    assert (code, finding["code"], finding["path"]) == (
        1,
        "CM607",
        "src/cmkit/startup.py",
    )
