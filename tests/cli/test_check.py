"""`cm check` as people, programs and GitHub read it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from foundry_cm.checks import checks
from tests.cli.conftest import cm
from tests.conftest import commit

WHAT = "waits is async, and the SDK does not await it"
FIX = "Write def, and run what is asynchronous inside it with asyncio.run()."
APP = """from __future__ import annotations

import atexit
from dataclasses import dataclass

from compute_modules.annotations import function
from compute_modules.startup import ConcurrencyType, start_compute_module

atexit.unregister(start_compute_module)


@dataclass
class Query:
    word: str


@function
async def waits(context, event: Query) -> str:
    return event.word


if __name__ == "__main__":
    start_compute_module(ConcurrencyType.THREAD_POOL)
"""
GOOD = APP.replace("async def", "def").replace("from __future__ import annotations\n\n", "")
WARNED = GOOD.replace("event: Query", "event")
COUNT = sum(not check.live for check in checks())


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module that never saw the template, with two mistakes."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_findings_are_grouped_by_file_with_the_line_of_code_and_the_fix(module: Path) -> None:
    done = cm(module, "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "app.py\n"
        "    1 error CM201 text-annotations: With this import the SDK cannot read the types of the file\n"
        "      | from __future__ import annotations\n"
    )
    assert (
        f"   18 error CM203 async-handler: {WHAT}\n"
        "      | async def waits(context, event: Query) -> str:\n"
        f"      fix: {FIX}\n"
    ) in done.stderr
    assert done.stderr.endswith(
        f"2 errors; {COUNT} checks\nnext: cm check --fix  shows what it can mend\n"
    )


def test_findings_as_json(module: Path) -> None:
    done = cm(module, "check", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][1] == {
        "code": "CM203",
        "severity": "error",
        "path": "app.py",
        "line": 18,
        "message": WHAT,
        "fix": FIX,
        "docs": "docs/checks/CM203.md",
    }


def test_findings_as_sarif(module: Path) -> None:
    done = cm(module.parent, "check", "--format", "sarif", "-C", module.name)
    assert done.returncode == 1
    [run] = json.loads(done.stdout)["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["CM201", "CM203"]
    result = run["results"][1]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("CM203", 1, "error")
    assert result["message"]["text"] == f"{WHAT}. {FIX}"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{module.name}/app.py"
    assert place["region"] == {"startLine": 18}


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on Windows")
def test_annotation_of_github_cannot_be_left_by_the_name_of_a_file(module: Path) -> None:
    (module / "a%0A::b,c:d\n::error::e.py").write_text("def\n")
    done = cm(module.parent, "check", "--format", "github", "-C", module.name)
    assert done.returncode == 1
    first, _, last = done.stdout.splitlines()
    name = "a%250A%3A%3Ab%2Cc%3Ad%0A%3A%3Aerror%3A%3Ae.py"
    assert first == (
        f"::error file={module.name}/{name},line=1,title=CM001 not-python::"
        "This is not Python: invalid syntax. Mend the line, or the one before it."
    )
    assert (
        last
        == f"::error file={module.name}/app.py,line=18,title=CM203 async-handler::{WHAT}. {FIX}"
    )


def test_what_a_file_says_cannot_colour_the_terminal(module: Path) -> None:
    (module / "app.py").write_text(APP.replace("-> str:", "-> str:  # \x1b[31mred\a"))
    assert "-> str:  # red\\u0007\n" in cm(module, "check").stderr


def test_warning_fails_with_strict_exit_alone(module: Path) -> None:
    (module / "app.py").write_text(WARNED)
    done = cm(module, "check")
    assert done.returncode == 0
    assert f"1 warning; {COUNT} checks\nnext: cm check --explain CM204  says why\n" in done.stderr
    assert cm(module, "check", "--strict-exit").returncode == 1


def test_profile_makes_an_untyped_handler_an_error(module: Path) -> None:
    (module / "app.py").write_text(WARNED)
    (module / "pyproject.toml").write_text('[tool.foundry-cm.check]\nprofile = "strict"\n')
    assert cm(module, "check").returncode == 1


def test_clean_module_is_told_so(module: Path) -> None:
    (module / "app.py").write_text(GOOD)
    done = cm(module, "check")
    assert (done.returncode, done.stderr) == (0, f"{COUNT} checks found nothing to mend\n")


def test_notice_is_told_and_fails_nothing(search_module: Path) -> None:
    # The template of these tests is not the one of the checkout that this cm runs from.
    done = cm(search_module, "check", "--strict-exit")
    assert done.returncode == 0
    assert "notice CM608 not-compared: Edits in the template's files were not looked" in done.stderr
    assert done.stderr.endswith(f"{COUNT} checks found nothing to mend\n")


def test_fix_shows_a_diff_and_writes_it_when_told_to(module: Path) -> None:
    shown = cm(module, "check", "--fix", input="")
    assert shown.returncode == 1
    assert "-from __future__ import annotations\n" in shown.stdout
    assert "next: cm check --fix --yes  writes it\n" in shown.stderr
    assert (module / "app.py").read_text() == APP
    done = cm(module, "check", "--fix", "--yes")
    assert "CM201" not in done.stderr
    assert (module / "app.py").read_text() == APP.split("\n", 2)[2]


def test_check_is_explained(tmp_path: Path) -> None:
    done = cm(tmp_path, "check", "--explain", "CM203")
    assert done.returncode == 0
    assert done.stdout.startswith("# CM203: async-handler\n")
    wrong = cm(tmp_path, "check", "--explain", "CM230")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: There is no check CM230\nfix:   Did you mean ")


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--yes"], "error: --yes belongs to --fix\n"),
        (["--fix", "--format", "json"], "error: --fix has no other format than text\n"),
        (["--container", "parts:1"], "error: --container belongs to --live\n"),
        (["--live", "--engine", "podman"], "error: --engine belongs to --container\n"),
        (["--live", "--container", "--rm"], 'error: "--rm" is not an image\n'),
        (["-C", "empty"], "error: There is no module here: no code and no Dockerfile\n"),
    ],
)
def test_wrong_request_is_refused(module: Path, args: list[str], error: str) -> None:
    (module / "empty").mkdir()
    done = cm(module, "check", *args)
    assert done.returncode == 2
    assert done.stderr.startswith(error)


def test_setting_for_a_check_that_there_is_none_of_is_refused(module: Path) -> None:
    (module / "pyproject.toml").write_text('[tool.foundry-cm.check]\nignore = ["CM2033"]\n')
    done = cm(module, "check")
    assert done.returncode == 2
    assert done.stderr == (
        "error: ignore: there is no check CM2033\n"
        f"where: {module}/pyproject.toml:2, [tool.foundry-cm.check] ignore\n"
        'fix:   Did you mean "CM203"?\n'
    )


def test_folder_of_another_owner_ends_in_three_lines(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(module, "as written")
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


def test_each_module_of_a_repository_is_checked(tmp_path: Path) -> None:
    for name in ("halls/level", "halls/flow"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "app.py").write_text(APP)
        image = "FROM --platform=linux/amd64 python:3.12-slim\nCOPY src /app\nUSER 5000\n"
        (tmp_path / name / "Dockerfile").write_text(image + 'CMD ["python", "/app/app.py"]\n')
    (tmp_path / "tools.py").write_text("import pandas\n\nPASSWORD = 'S3same-0pen'\n")
    done = cm(tmp_path, "check", "--format", "json")
    found = {(f["code"], f["path"]) for f in json.loads(done.stdout)["findings"]}
    ours = {("CM201", f"halls/{name}/src/app.py") for name in ("flow", "level")}
    assert ours | {("CM402", "tools.py")} <= found
    assert not {code for code, _ in found} & {"CM207", "CM209", "CM210", "CM306"}
    cm(tmp_path, "check", "--fix", "--yes")
    assert (tmp_path / "halls/level/src/app.py").read_text() == APP.split("\n", 2)[2]


def test_checks_need_no_git(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = cm(module, "check")
    assert (done.returncode, "CM203" in done.stderr) == (1, True)
