"""`cm` as a person runs it: a process of its own, in the folder of a module."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Render

CM = str(Path(sys.executable).with_name("cm"))


def cm(folder: Path, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `cm` to its end."""
    return subprocess.run(
        [CM, *args], cwd=folder, text=True, capture_output=True, timeout=60, **options
    )


class Server:
    """A running `cm serve`, with what it has printed so far."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = folder
        self._log = folder / f"serve-{time.time_ns()}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [CM, "serve", "--port", "0", "--panel-port", "0", *args],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def panel(self) -> str:
        return str(json.loads((self.folder / ".cm/serve.json").read_text())["panel"])

    def wait_for(self, text: str, times: int = 1, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while self.output.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            assert self.process.poll() is None, self.output
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - began


@contextmanager
def serving(folder: Path, *args: str) -> Iterator[Server]:
    """Run `cm serve` in a folder while the block runs."""
    server = Server(folder, *args)
    try:
        server.wait_for("next: cm call")
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def module(search_module: Path, tmp_path: Path) -> Path:
    """A copy of the default module that a test may change."""
    return shutil.copytree(search_module, tmp_path / "module")


@pytest.fixture
def blank(render: Render, tmp_path: Path) -> Path:
    """A blank module that a test may change."""
    return render(tmp_path / "blank", example="blank")
