"""What tests of the scaler share: a module, and how fast their time may pass on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache

# A module whose calls take as long as they ask for.
WAITS = """
import time
from compute_modules import ConcurrencyType, start_compute_module
from compute_modules.annotations import function

@function
def wait(context, event) -> float:
    time.sleep(event["seconds"])
    return event["seconds"]

if __name__ == "__main__":
    start_compute_module(ConcurrencyType.THREAD_POOL)
"""


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
