"""Each check finds the mistake in its own bad examples, on the right line, and nothing in its good ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.checks import Bad, Check, Module, checks, run_checks
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.registry import Files
from tests.conftest import REPOSITORY

STATIC = [check for check in checks() if not check.live]
BAD = [pytest.param(c, bad, id=f"{c.code}-{n}") for c in STATIC for n, bad in enumerate(c.bad)]
GOOD = [pytest.param(c, good, id=f"{c.code}-{n}") for c in STATIC for n, good in enumerate(c.good)]


def write(folder: Path, files: Files) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def findings(folder: Path, files: Files, code: str) -> list[Finding]:
    """What all static checks together find with one code."""
    write(folder, files)
    return [found for found in run_checks(Module.read(folder), STATIC) if found.code == code]


@pytest.mark.parametrize(("check", "bad"), BAD)
def test_bad_example_is_found_on_its_line(check: Check, bad: Bad, tmp_path: Path) -> None:
    found = findings(tmp_path, bad.files, check.code)
    assert tuple(dict.fromkeys(finding.where for finding in found)) == bad.at
    assert all(finding.name == check.name and finding.fix for finding in found)


@pytest.mark.parametrize(("check", "good"), GOOD)
def test_good_example_is_not_found(check: Check, good: Files, tmp_path: Path) -> None:
    assert findings(tmp_path, good, check.code) == []


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.code)
def test_each_check_is_shown_and_tested(check: Check) -> None:
    assert check.text, "its docstring is its page in the documentation"
    if check.proof:
        assert (REPOSITORY / check.proof).is_file()
    else:
        assert check.bad and check.good
