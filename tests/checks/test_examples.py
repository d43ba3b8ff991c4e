"""Each check finds the mistake in its own bad examples, on the right line, and nothing in its good ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.checks import Check, Module, checks, run_checks
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.registry import Files
from foundry_cm.checks.runner import LAST
from tests.conftest import REPOSITORY

STATIC = [check for check in checks() if not check.live]


def write(folder: Path, files: Files) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def _without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are in no repository, and to ask git for each takes longer than the check."""
    monkeypatch.setattr("foundry_cm.checks.module.told", lambda *_: None)


def findings(folder: Path, files: Files, check: Check) -> list[Finding]:
    """What a check finds; the one for comments that switch off nothing needs all others before it."""
    write(folder, files)
    wanted = STATIC if check.code == LAST else [check]
    return [found for found in run_checks(Module.read(folder), wanted) if found.code == check.code]


@pytest.mark.parametrize("check", STATIC, ids=lambda check: check.code)
def test_bad_examples_are_found_on_their_lines(check: Check, tmp_path: Path) -> None:
    for number, bad in enumerate(check.bad):
        found = findings(tmp_path / str(number), bad.files, check)
        assert tuple(dict.fromkeys(finding.where for finding in found)) == bad.at, bad.files
        assert all(finding.name == check.name and finding.fix for finding in found)


@pytest.mark.parametrize("check", STATIC, ids=lambda check: check.code)
def test_good_examples_are_not_found(check: Check, tmp_path: Path) -> None:
    for number, good in enumerate(check.good):
        assert findings(tmp_path / str(number), good, check) == [], good


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.code)
def test_each_check_is_shown_and_tested(check: Check) -> None:
    assert check.text, "its docstring is its page in the documentation"
    if check.proof:
        assert (REPOSITORY / check.proof).is_file()
    else:
        assert check.bad and check.good
