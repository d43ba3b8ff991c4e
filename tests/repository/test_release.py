"""The release check refuses each tag that modules could not follow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foundry_cm import __version__
from hooks.release import problems
from tests.conftest import REPOSITORY, commit, git

CHANGELOG = "# Changelog\n\n## 1.2.3 (2026-01-31)\n\n### After updating\n\nNothing.\n"


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A repository that may be tagged v1.2.3."""
    (tmp_path / "copier.yml").write_text('_subdirectory: template\n"name": {type: str}\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    commit(tmp_path, "ready")
    git(tmp_path, "tag", "v1.2.2")
    git(tmp_path, "tag", "not-a-version")
    return tmp_path


def reasons(root: Path, tag: str = "v1.2.3", version: str = "1.2.3") -> list[str]:
    return list(problems(tag, root=root, version=version))


def test_a_tag_that_modules_can_follow_is_admitted(ready: Path) -> None:
    assert reasons(ready) == []


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3-beta", "latest"])
def test_a_tag_of_another_form_is_refused(ready: Path, tag: str) -> None:
    assert reasons(ready, tag) == [f"{tag} is not of the form v1.2.3 or v1.2.3rc1"]


def test_a_tag_that_is_not_the_version_is_refused(ready: Path) -> None:
    found = reasons(ready, version="1.2.4")
    assert found == ["v1.2.3 is not the version in foundry_cm/__init__.py, 1.2.4"]


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("v1.2.3", "v1.2.3 exists already; a tag is never moved"),
        ("v1.3.0", "v1.3.0 is newer than v1.2.3"),
    ],
)
def test_a_tag_that_does_not_go_on_from_the_others_is_refused(
    ready: Path, tag: str, reason: str
) -> None:
    git(ready, "tag", tag)
    assert reasons(ready) == [reason]


def test_changes_that_are_not_committed_are_refused(ready: Path) -> None:
    (ready / "new").touch()
    assert reasons(ready) == ["the working tree has changes that are not committed"]


@pytest.mark.parametrize("setting", ["_tasks", "_jinja_extensions"])
def test_a_setting_that_asks_for_trust_is_refused(ready: Path, setting: str) -> None:
    with (ready / "copier.yml").open("a") as config:
        config.write(f"{setting}: []\n")
    commit(ready, "trust me")
    assert reasons(ready) == [
        f"copier.yml has {setting}: every user would have to pass --trust, for ever"
    ]


def _without_a_section(text: str) -> str:
    return text.replace("1.2.3", "1.2.2")


def _unreleased(text: str) -> str:
    return text.replace("2026-01-31", "unreleased")


def _nothing_after_updating(text: str) -> str:
    return text.replace("### After updating", "### More")


def _another_releases_part(text: str) -> str:
    return _nothing_after_updating(text) + "\n## 1.2.2 (2025-01-31)\n\n### After updating\n"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_a_section, "CHANGELOG.md has no section for 1.2.3"),
        (_unreleased, "CHANGELOG.md says that 1.2.3 is unreleased; give its date"),
        (_nothing_after_updating, 'CHANGELOG.md has no part "After updating" for 1.2.3'),
        (_another_releases_part, 'CHANGELOG.md has no part "After updating" for 1.2.3'),
    ],
)
def test_a_changelog_that_does_not_tell_of_the_release_is_refused(
    ready: Path, change: Callable[[str], str], reason: str
) -> None:
    (ready / "CHANGELOG.md").write_text(change(CHANGELOG))
    commit(ready, "the changelog")
    assert reasons(ready) == [reason]


def test_the_command_prints_each_reason_and_ends_with_1() -> None:
    command = [sys.executable, "-m", "hooks.release", "v0.0.0.1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: v0.0.0.1 is not of the form v1.2.3 or v1.2.3rc1\n"


def test_the_changelog_of_this_repository_has_a_part_for_its_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {__version__} (" in text
