"""How fast the scaler's time may pass in a test: no faster than this machine can start replicas."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache


def scale(most: float, start: float) -> float:
    """At most so many times as fast, and so that a start takes about so many of the scaler's seconds."""
    return min(most, start / _start_seconds())


@cache
def _start_seconds() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import os, compute_modules.annotations; os._exit(0)"], check=True
    )
    return time.perf_counter() - began
