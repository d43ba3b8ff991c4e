"""`cm check` after an update: what it left to do, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from copier import run_update

from foundry_cm import checks
from foundry_cm.errors import CmError
from tests.checks.conftest import Make, append, found
from tests.conftest import commit, git
from tests.template.conftest import module_of, quiet_update

BACK = (
    "git reset, then git checkout ., then git clean -di for files that it added, then update again."
)


@pytest.fixture
def conflicted(next_version: Path, tmp_path: Path) -> Path:
    """A module whose owner and whose template changed the same line."""
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", {})
    dockerfile = module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("WORKDIR /app", "WORKDIR /mine"))
    commit(module, "another folder")
    return module


def test_edits_in_the_same_place_are_marked_and_reported(conflicted: Path) -> None:
    quiet_update(conflicted)
    finding = found(conflicted)["conflict-marker"]
    text = (conflicted / "Dockerfile").read_text()
    assert "WORKDIR /mine" in text and "LABEL next=version" in text
    assert finding.path == "Dockerfile"
    assert text.splitlines()[finding.line - 1] == "<<<<<<< before updating"


def test_rejected_hunk_is_reported(conflicted: Path) -> None:
    quiet_update(conflicted, conflict="rej")
    finding = found(conflicted)["rejected-hunk"]
    assert finding.message == "An update could not apply a change to Dockerfile"


def test_resolved_file_that_git_still_holds_is_reported(conflicted: Path) -> None:
    quiet_update(conflicted)
    (conflicted / "Dockerfile").write_text("FROM scratch\n")
    finding = found(conflicted)["unresolved-file"]
    assert finding.message == "An update is not finished: git still holds this file for a conflict"
    assert finding.fix == f"git add Dockerfile once it is right. To go back instead: {BACK}"
    git(conflicted, "add", "Dockerfile")
    assert "unresolved-file" not in found(conflicted)


def test_the_way_back_that_is_named_leads_back(conflicted: Path) -> None:
    quiet_update(conflicted)
    assert found(conflicted)["uncommitted-update"].fix.endswith(BACK)
    git(conflicted, "reset", "-q")
    git(conflicted, "checkout", "-q", ".")
    git(conflicted, "clean", "-dfq")
    assert git(conflicted, "status", "--porcelain") == ""
    quiet_update(conflicted)
    assert "conflict-marker" in found(conflicted)


def test_update_that_is_not_committed_is_a_notice(make: Make) -> None:
    module = make()
    run_update(module, data={"multi_stage": True}, defaults=True, overwrite=True, quiet=True)
    [finding] = checks.run(module)
    assert (finding.name, finding.severity) == ("uncommitted-update", "notice")
    assert finding.message == "An update is not committed yet"
    commit(module, "updated")
    assert checks.run(module) == []


def test_dropped_file_is_named_as_long_as_it_can_be_had_back(make: Make) -> None:
    module = make(ci="github")
    append(module / ".github/workflows/module.yml", "# a job of mine\n")
    commit(module, "one more job")
    run_update(module, data={"ci": "none"}, defaults=True, overwrite=True, quiet=True)
    told = {
        finding.message: finding.fix
        for finding in checks.run(module)
        if finding.severity == "notice"
    }
    what = "The update dropped .github/workflows/module.yml, with whatever was yours in it"
    assert told[what] == "git show HEAD:./.github/workflows/module.yml has it."


def test_folder_of_another_owner_is_told_and_not_taken_for_no_repository(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(CmError) as refused:
        checks.run(module)
    assert refused.value.what == "git refuses this folder: it belongs to another user"
    assert refused.value.fix == f'git config --global --add safe.directory "{module}"'
