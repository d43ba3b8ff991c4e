"""However `cm` is ended, nothing of the module, the files or the note is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from foundry_cm.testing import Foundry
from tests.cli.conftest import CM, cm, serving
from tests.conftest import LINUX
from tests.function.conftest import HEAD, PROCESSES

pytestmark = LINUX

APP = """
with open("pid", "w") as file:
    file.write(str(os.getpid()))

@function
def wait(context, event: Payload) -> str:
    open("called", "w").close()
    time.sleep(60)
    return ""
"""


@pytest.mark.parametrize(
    ("words", "sign", "name"),
    [
        (["call", "wait", "--json", '{"text": ""}'], "called", "SIGHUP"),
        (["call", "wait", "--json", '{"text": ""}'], "called", "SIGKILL"),
        (["schema"], "pid", "SIGTERM"),
        (["serve", "--port", "0", "--panel-port", "0"], ".cm/serve.json", "SIGHUP"),
        (["serve", "--port", "0", "--panel-port", "0"], ".cm/serve.json", "SIGKILL"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_nothing_is_left(tmp_path: Path, words: list[str], sign: str, name: str) -> None:
    start = "time.sleep(60)\n" if words == ["schema"] else ""
    (tmp_path / "app.py").write_text(HEAD + APP + start + PROCESSES)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [CM, *words, "--", sys.executable, "app.py"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.DEVNULL,
        # As a shell starts what a script runs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    deadline = time.monotonic() + 30
    while not ((tmp_path / sign).exists() and (tmp_path / "pid").exists()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    module = psutil.Process(int((tmp_path / "pid").read_text()))
    family = [module, *module.children(recursive=True)]
    process.send_signal(getattr(signal, name))
    process.wait(20)
    deadline = time.monotonic() + 5
    while True:
        left = [each for each in family if _lives(each)] + list((tmp_path / "tmp").iterdir())
        left += [tmp_path / ".cm"] if (tmp_path / ".cm").exists() else []
        if not left:
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        # One that nobody has collected yet has ended all the same.
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_server_that_nohup_started_outlives_its_terminal(module: Path) -> None:
    hangup = signal.Signals["SIGHUP"]
    before = signal.signal(hangup, signal.SIG_IGN)
    try:
        with serving(module) as server:
            server.process.send_signal(hangup)
            assert cm(module, "call", "search").returncode == 0
            assert server.process.poll() is None
            assert server.stop() < 3
    finally:
        signal.signal(hangup, before)


def test_start_that_a_person_interrupts_cleans_up_behind_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text(
        HEAD + "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def interrupt() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), Foundry(tmp_path, [sys.executable, "app.py"]):
        pass
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
