"""Switching a check off: by a comment with a reason, or by its code in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.checks import run
from foundry_cm.checks.shown import ECHO, good

ASYNC = "@function\nasync def echo(context, event: Query) -> str:{}\n    return event.text\n"
REASON = "  # cm: ignore[CM203] never called"


def codes(folder: Path, body: str, pyproject: str = "") -> list[str]:
    for name, text in good(body, files={"pyproject.toml": pyproject}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return [finding.code for finding in run(folder)]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (ASYNC.format(""), ["CM203"]),
        (ASYNC.format(REASON), []),
        (ASYNC.format("  # cm: ignore[CM202, CM203] never called"), ["CM003"]),
        (ASYNC.format("").replace("async", "# cm: ignore[CM203] never called\nasync"), []),
        (ASYNC.format("").replace("async", "# cm: ignore[CM203] never called\n\n# why\nasync"), []),
        (ASYNC.format("  # cm: ignore[CM203]"), ["CM002", "CM203"]),
        (ASYNC.format("  # cm: ignore[CM204] another"), ["CM003", "CM203"]),
        (ECHO.replace("str:", "str:" + REASON), ["CM003"]),
        (ECHO.replace("str:", f"str:\n    '''{REASON}'''"), []),
    ],
)
def test_comment_switches_off_what_it_names_on_its_line(
    tmp_path: Path, body: str, found: list[str]
) -> None:
    assert codes(tmp_path, body) == found


def test_setting_switches_a_check_off_for_the_module(tmp_path: Path) -> None:
    setting = '[tool.foundry-cm.check]\nignore = ["CM203"]\n'
    assert codes(tmp_path, ASYNC.format(""), setting) == []
