"""Modules written by hand, with nothing of the template in them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from foundry_cm.testing import Foundry

Serve = Callable[..., Foundry]

# What the SDK's published sample looks like, with the start made explicit.
HEAD = """
import os, sys, time
from dataclasses import dataclass
from compute_modules import ConcurrencyType, start_compute_module
from compute_modules.annotations import function

@dataclass
class Payload:
    text: str

"""
THREADS = '\nif __name__ == "__main__":\n    start_compute_module(ConcurrencyType.THREAD_POOL)\n'
PROCESSES = '\nif __name__ == "__main__":\n    start_compute_module()\n'


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Run the text of an `app.py` under the local Foundry; gives the context manager."""

    def run(body: str, *, head: str = HEAD, tail: str = THREADS, **settings: Any) -> Foundry:
        (tmp_path / "app.py").write_text(
            dedent(head) + dedent(body) + dedent(tail), encoding="utf-8"
        )
        return Foundry(tmp_path, [sys.executable, "app.py"], **settings)

    return run
