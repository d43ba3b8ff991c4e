"""Roots of Debian, made once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundry-cm-tests"


def why_no_root(*tools: str) -> str | None:
    """What keeps this machine from making a root, or from running these tools, in a few words."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or os.geteuid() != 0:
        return "needs Linux on x86_64, and root"
    missing = [tool for tool in ("debootstrap", *tools) if shutil.which(tool) is None]
    return f"needs: apt-get install {' '.join(missing)}" if missing else None


def bootstrap(root: Path, suite: str, packages: Sequence[str]) -> None:
    """Make a root of a suite with these packages, in place of what is there."""
    shutil.rmtree(root, ignore_errors=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(root))


def run(*command: str) -> None:
    """Run a command; a failure shows the end of what it printed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
