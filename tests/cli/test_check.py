"""`cm check` as people, programs and GitHub read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foundry_cm.checks import checks
from tests.cli.conftest import cm
from tests.conftest import commit

WHAT = "An update left a conflict here"
FIX = "Keep what is right of both sides, and delete the lines <<<<<<<, ======= and >>>>>>>."


@pytest.fixture
def conflicted(module: Path) -> Path:
    (module / "notes.md").write_text("one\n<<<<<<< before\ntwo\n=======\nthree\n>>>>>>> after\n")
    commit(module, "a conflict")
    return module


def test_finding_is_told_with_its_place_and_its_fix(conflicted: Path) -> None:
    done = cm(conflicted, "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"CM601 conflict-marker: {WHAT}\nwhere: notes.md:2\nfix:   {FIX}\n" in done.stderr


def test_finding_as_json(conflicted: Path) -> None:
    done = cm(conflicted, "check", "--format", "json")
    assert done.returncode == 1
    assert {
        "code": "CM601",
        "severity": "error",
        "path": "notes.md",
        "line": 2,
        "message": WHAT,
        "fix": FIX,
    } in json.loads(done.stdout)["findings"]


def test_finding_as_an_annotation_of_github(conflicted: Path) -> None:
    done = cm(conflicted, "check", "--format", "github")
    assert done.returncode == 1
    assert (
        f"::error file=notes.md,line=2,title=CM601 conflict-marker::{WHAT}. {FIX}\n" in done.stdout
    )


def test_notice_is_told_and_fails_nothing(module: Path) -> None:
    # The template of these tests is not the one of the checkout that this cm runs from.
    commit(module, "as rendered")
    done = cm(module, "check")
    assert done.returncode == 0
    assert "CM608 not-compared: Edits in the template's files were not looked for: " in done.stderr
    assert done.stderr.endswith(f"{len(checks())} checks found nothing to mend\n")
    github = cm(module, "check", "--format", "github")
    assert github.stdout.startswith(
        "::notice file=.copier-answers.yml,line=2,title=CM608 not-compared::"
    )


def test_folder_of_another_owner_ends_in_three_lines(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(module, "as rendered")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    done = cm(module, "check")
    assert done.returncode == 2
    assert done.stderr == (
        "error: git refuses this folder: it belongs to another user\n"
        f"where: {module}\n"
        f'fix:   git config --global --add safe.directory "{module}"\n'
    )


def test_verb_that_there_is_none_of_gets_the_nearest(tmp_path: Path) -> None:
    done = cm(tmp_path, "chek")
    assert done.returncode == 2
    assert "No such command 'chek'" in done.stderr and "'check'" in done.stderr
