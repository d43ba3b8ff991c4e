"""The fixture `foundry` in a module's own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FAILING = """
def test_it(foundry):
    assert foundry.call("process", {"text": ""}) == {}
"""


def test_failure_of_a_call_shows_the_traceback_wherever_pytest_is_started(
    blank: Path, tmp_path: Path
) -> None:
    app = blank / "src/app.py"
    app.write_text(app.read_text().replace("length=0", "length=1 // 0"))
    (blank / "tests/test_app.py").write_text(FAILING)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(elsewhere), str(blank / "tests")],
        cwd=elsewhere,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1
    assert "CallFailed: process failed on job" in done.stdout
    assert "The module printed:" in done.stdout
    assert "ZeroDivisionError: integer division or modulo by zero" in done.stdout
    assert "length=1 // 0" in done.stdout
