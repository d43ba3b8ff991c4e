"""The Pythons that a rendered module supports, each with what the tests need in it."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

SUPPORTED = ["3.10", "3.11", "3.12", "3.13"]


def uv(*args: str) -> subprocess.CompletedProcess[str]:
    """Run uv, which makes environments faster than pip does."""
    return subprocess.run([sys.executable, "-m", "uv", "-q", *args], text=True, capture_output=True)


@lru_cache
def interpreter(version: str, *requirements: str) -> str:
    """A Python of this version with these requirements; skips the test where the machine has none."""
    found = _find(version)
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    folder = Path(mkdtemp(prefix=f"python-{version}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = uv("venv", "--no-python-downloads", "--python", found, str(folder))
    assert made.returncode == 0, made.stderr
    python = str(folder / "bin" / "python")
    if requirements:
        done = uv("pip", "install", "--python", python, *requirements)
        assert done.returncode == 0, done.stderr
    return python


def _find(version: str) -> str | None:
    """A Python of this version on the PATH, or among those of pyenv."""
    found = uv("python", "find", "--no-python-downloads", "--system", version)
    if found.returncode == 0:
        return found.stdout.strip()
    installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}")
    return next((str(path) for path in sorted(installed)), None)
