"""Secrets in git: what was committed once is in every clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm import checks
from foundry_cm.checks import Finding
from tests.conftest import commit, git

# In two parts, so that no scanner takes it for a real one.
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text("import os\n\nprint(os.environ['TOKEN'])\n")
    commit(tmp_path, "good")
    return tmp_path


def of_history(module: Path) -> list[Finding]:
    return [found for found in checks.run(module) if found.code == "CM403"]


def replace(module: Path, old: str, new: str) -> None:
    file = module / "src/app.py"
    file.write_text(file.read_text().replace(old, new))
    commit(module, "changed")


@pytest.mark.parametrize("line", [f'AUTH = "Bearer {TOKEN}"', 'PASSWORD = "hunter22"'])
def test_a_secret_that_was_taken_out_is_still_in_the_history(module: Path, line: str) -> None:
    replace(module, "print", f"{line}\nprint")
    assert of_history(module) == []  # the file itself is told of
    replace(module, f"{line}\n", "")
    (found,) = of_history(module)
    assert found.where == "src/app.py:3"
    assert git(module, "rev-parse", "--short", "HEAD~1").strip() in found.message
    assert "hunter22" not in found.message and TOKEN not in found.message


def test_a_deleted_file_is_still_in_the_history(module: Path) -> None:
    (module / "notes").write_text(f"one\n{TOKEN}\n")
    commit(module, "added")
    (module / "notes").unlink()
    commit(module, "deleted")
    assert [found.where for found in of_history(module)] == ["notes:2"]


def test_no_program_of_the_repository_is_run_to_show_a_file(module: Path) -> None:
    """A folder that was unpacked, and not cloned, brings its git settings along."""
    (module / ".gitattributes").write_text("* diff=evil\n")
    git(module, "config", "diff.evil.textconv", "touch ran; cat")
    git(module, "config", "diff.external", "touch ran; true")
    commit(module, "attributes")
    of_history(module)
    assert not (module / "ran").exists()


def test_a_folder_without_git_has_no_history(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print(1)\n")
    assert of_history(tmp_path) == []
