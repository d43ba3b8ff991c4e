"""`cm check` reads the answers file, which the next update believes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks.conftest import Make, found, only
from tests.conftest import commit, git

UNDO = (
    "git log -p -- .copier-answers.yml has the text that Copier wrote; "
    "change an answer with copier update -d name=value."
)


def rewrite(module: Path, old: str, new: str) -> None:
    """Edit the answers file by hand, and commit it."""
    file = module / ".copier-answers.yml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    commit(module, "by hand")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "multi_stage: false\n",
            "multi_stage: false\nreplicas: 2\n",
            "replicas is no answer of this module",
        ),
        (
            "multi_stage: false\n",
            "multi_stage: false\ngpu: t4\n",
            "gpu is no answer of this module",
        ),
        ("multi_stage: false\n", "", "multi_stage is missing here"),
        (
            "python_version: '3.13'",
            "python_version: 3.10",
            "The template refuses an answer. Invalid choice for 'python_version': '3.1' is not in",
        ),
        (
            "max_replicas: 1",
            "max_replicas: 0",
            "The template refuses an answer. Validation error for question 'max_replicas': "
            "Give 1 or more, and at least min_replicas (0).",
        ),
        ("_commit", "<<<: [\n_commit", ".copier-answers.yml holds no answers that Copier can read"),
    ],
)
def test_edit_that_copier_cannot_have_made_is_found(
    make: Make, old: str, new: str, what: str
) -> None:
    module = make()
    rewrite(module, old, new)
    finding = only(module)
    assert finding.message.startswith(what)
    assert finding.fix == UNDO


def test_finding_points_at_the_line_of_the_answer(make: Make) -> None:
    module = make()
    rewrite(module, "max_replicas: 1", "max_replicas: 0")
    lines = (module / ".copier-answers.yml").read_text().splitlines()
    assert lines[only(module).line - 1] == "max_replicas: 0"


def test_edit_that_changes_what_the_template_renders_is_found(make: Make) -> None:
    module = make(example="embedding", weights_strategy="downloaded")
    rewrite(module, "weights_strategy: downloaded", "weights_strategy: baked")
    assert found(module).keys() == {"answers-edited", "template-file"}


def test_edit_that_is_not_committed_is_told(make: Make) -> None:
    module = make()
    file = module / ".copier-answers.yml"
    file.write_text(file.read_text().replace("multi_stage: false", "multi_stage: true"))
    finding = only(module)
    assert finding.severity == "notice"
    assert finding.message == (
        ".copier-answers.yml is changed, and nothing else: an edit by hand misleads the next update"
    )


@pytest.mark.parametrize(
    "address",
    ["https://token@git.example.com/t.git", "git+https://me:token@git.example.com/t.git"],
)
def test_credential_in_the_address_is_found_and_not_repeated(make: Make, address: str) -> None:
    module = make()
    rewrite(module, "_src_path: ", f"_src_path: {address} # ")
    finding = only(module)
    assert (finding.path, finding.line) == (".copier-answers.yml", 3)
    assert finding.message == (
        "The template's address has a credential in it, for everyone who reads this repository"
    )
    assert "token" not in finding.message + finding.fix
    assert finding.fix.endswith(f"{address.replace('me:', '').replace('token@', '')} .")


def test_user_of_an_ssh_address_is_no_credential(make: Make) -> None:
    module = make()
    rewrite(module, "_src_path: ", "_src_path: ssh://git@git.example.com/t.git # ")
    assert found(module) == {}


def test_path_from_another_folder_is_found_with_the_command_that_mends_it(make: Make) -> None:
    module = make()
    rewrite(module, "_src_path: ", "_src_path: ./template # ")
    finding = only(module)
    assert (finding.code, finding.line) == ("CM609", 3)
    assert finding.message == (
        "There is no template at ./template, seen from this folder: copier update ends in a traceback"
    )
    assert finding.fix.endswith("--exclude '*' --exclude '!/.copier-answers.yml' PATH .")
    (module.parent / "template").mkdir()
    rewrite(module, "_src_path: ./template", "_src_path: ../template")
    assert found(module) == {}


def test_named_command_writes_another_address_and_nothing_else(
    make: Make, template: Path, tmp_path: Path
) -> None:
    module = make()
    (module / "src/app.py").write_text("mine = 1\n")
    (module / "tests/test_app.py").unlink()
    rewrite(module, "_src_path: ", "_src_path: https://token@git.example.com/t.git # ")
    moved = tmp_path / "moved"
    git(tmp_path, "clone", "-q", str(template), str(moved))
    fix = found(module)["credential"].fix
    command = fix.partition(": ")[2].replace("https://git.example.com/t.git", str(moved))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=module, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert git(module, "status", "--porcelain").split() == ["M", ".copier-answers.yml"]
    assert f"_src_path: {moved}\n" in (module / ".copier-answers.yml").read_text()
