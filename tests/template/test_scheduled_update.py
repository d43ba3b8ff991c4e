"""The scheduled job of a rendered module: its script, run against a remote on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import UNIX, commit, git
from tests.template.conftest import module_of

pytestmark = UNIX

GH = """#!/bin/sh
for word in "$@"; do echo "$word"; done >> "$GH_LOG"
"""


class Remote:
    """A module with a bare remote, and the platform's command line in place of the platform."""

    def __init__(self, template: Path, folder: Path, platform: str, **answers: str) -> None:
        data = {"ci": platform, **answers}
        self.module = module_of(template, folder / "module", "v1000.0.0", data)
        self.bare = folder / "remote.git"
        git(folder, "clone", "-q", "--bare", str(self.module), str(self.bare))
        git(self.bare, "config", "receive.advertisePushOptions", "true")
        git(self.module, "remote", "add", "origin", str(self.bare))
        self.log = folder / "gh.log"
        (folder / "bin").mkdir()
        (folder / "bin/gh").write_text(GH)
        (folder / "bin/gh").chmod(0o755)
        (folder / "bin/pip").write_text("#!/bin/sh\n")
        (folder / "bin/pip").chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "GH_LOG": str(self.log),
            "GH_TOKEN": "secret-token",
            "TEMPLATE_UPDATE_TOKEN": "secret-token",
            "CI_SERVER_HOST": "gitlab.example.com",
            "CI_PROJECT_PATH": "team/module",
        }
        address = "https://oauth2:secret-token@gitlab.example.com/team/module.git"
        git(
            folder,
            "config",
            "--file",
            str(folder / "gitconfig"),
            f"url.{self.bare}.insteadOf",
            address,
        )
        self.platform = platform

    def script(self) -> str:
        if self.platform == "github":
            text = (self.module / ".github/workflows/template-update.yml").read_text()
            return str(yaml.safe_load(text)["jobs"]["update"]["steps"][-1]["run"])
        job = yaml.safe_load((self.module / ".gitlab-ci.yml").read_text())["template-update"]
        return "\n".join(job["script"])

    def run(self) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", self.script()],
            cwd=self.module,
            env=self.environment,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        git(self.module, "checkout", "-q", "main")
        return done.stdout + done.stderr

    def branches(self) -> list[str]:
        return git(self.bare, "branch", "--format", "%(refname:short)").split()


@pytest.fixture(params=["github", "gitlab"])
def remote(request: Any, next_version: Path, tmp_path: Path) -> Remote:
    folder = tmp_path / "work"
    folder.mkdir()
    return Remote(next_version, folder, request.param)


def test_newer_template_is_proposed_once(remote: Remote) -> None:
    # As cm lock leaves it: the update changes the line that comes next.
    dockerfile = remote.module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("-slim", f"-slim@sha256:{'0' * 64}"))
    commit(remote.module, "locked")
    remote.run()
    assert remote.branches() == ["main", "template-update-v1001.0.0"]
    proposed = git(remote.bare, "show", "template-update-v1001.0.0:Dockerfile")
    assert "LABEL next=version" in proposed and "-slim@sha256:" in proposed
    assert "<<<<<<<" not in proposed
    if remote.platform == "github":
        assert "Update the template to v1001.0.0" in remote.log.read_text().splitlines()
    before = git(remote.bare, "rev-parse", "template-update-v1001.0.0")
    git(remote.module, "branch", "-q", "-D", "template-update-v1001.0.0")
    remote.run()
    assert git(remote.bare, "rev-parse", "template-update-v1001.0.0") == before


def test_nothing_newer_proposes_nothing(remote: Remote) -> None:
    remote.run()
    git(remote.module, "merge", "-q", "template-update-v1001.0.0")
    git(remote.module, "push", "-q", "origin", "main")
    git(remote.bare, "branch", "-q", "-D", "template-update-v1001.0.0")
    git(remote.module, "branch", "-q", "-D", "template-update-v1001.0.0")
    remote.run()
    assert remote.branches() == ["main"]


def test_newer_packages_are_proposed_once_where_they_are_locked(remote: Remote) -> None:
    remote.run()
    git(remote.module, "merge", "-q", "template-update-v1001.0.0")
    lock, cm = remote.module / "requirements.lock", Path(remote.environment["HOME"]) / "bin/cm"
    lock.write_text("parts==1.0\n")
    commit(remote.module, "locked")
    git(remote.module, "push", "-q", "origin", "main")
    cm.write_text(
        '#!/bin/sh\n[ "$*" = "lock --upgrade" ] && echo "parts==2.0" > requirements.lock\n'
    )
    cm.chmod(0o755)
    remote.run()
    (branch,) = set(remote.branches()) - {"main", "template-update-v1001.0.0"}
    assert branch.startswith("lock-update-")
    assert git(remote.bare, "show", f"{branch}:requirements.lock") == "parts==2.0\n"
    assert git(remote.bare, "diff", "--name-only", "main", branch).split() == ["requirements.lock"]
    if remote.platform == "github":
        assert "merge it once the checks pass." in remote.log.read_text().splitlines()[-1]
    git(remote.module, "branch", "-q", "-D", branch)
    remote.run()
    assert len(remote.branches()) == 3


def test_wheel_of_cm_is_made_again_from_the_newer_template(
    next_version: Path, tmp_path: Path
) -> None:
    remote = Remote(next_version, tmp_path, "gitlab", cm_from="file")
    wheels = remote.module / "wheels"
    wheels.mkdir()
    (wheels / "foundry_cm-1000.0.0-py3-none-any.whl").write_text("old")
    commit(remote.module, "with its wheel")
    git(remote.module, "push", "-q", "origin", "main")
    pip = tmp_path / "bin/pip"
    pip.write_text(
        '#!/bin/sh\necho "$*" >> "$GH_LOG"\n'
        '[ "$1" = wheel ] && echo new > wheels/foundry_cm-1001.0.0-py3-none-any.whl\n'
    )
    remote.run()
    listed = git(remote.bare, "ls-tree", "--name-only", "template-update-v1001.0.0", "wheels/")
    assert listed.split() == ["wheels/foundry_cm-1001.0.0-py3-none-any.whl"]
    # What it is made from is what the updated module says.
    asked = f"wheel --no-deps --wheel-dir wheels foundry-cm @ file://{next_version}"
    assert remote.log.read_text().splitlines()[-1] == asked
    pinned = git(remote.bare, "show", "template-update-v1001.0.0:requirements-dev.txt")
    assert "\nfoundry-cm==1001.0.0\n" in pinned


def test_conflict_is_proposed_with_its_place(remote: Remote) -> None:
    dockerfile = remote.module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("WORKDIR /app", "WORKDIR /mine"))
    commit(remote.module, "another folder")
    remote.run()
    proposed = git(remote.bare, "show", "template-update-v1001.0.0:Dockerfile")
    assert "WORKDIR /mine" in proposed and "LABEL next=version" in proposed
    if remote.platform == "github":
        assert "Both sides changed these lines: Dockerfile:" in remote.log.read_text()
