"""The verbs on modules that never saw the template."""

from __future__ import annotations

import json
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.addresses import bind
from tests.cli.conftest import cm, serving
from tests.function.conftest import HEAD, THREADS

UNTYPED = """
@function
def add(context, event):
    return event["x"] + event["y"]
"""
MODULE = ("--", sys.executable, "app.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A module without annotations, with no settings and no src/."""
    (tmp_path / "app.py").write_text(HEAD + UNTYPED + THREADS)
    return tmp_path


def test_handler_without_annotations_is_called_and_gets_no_made_up_event(folder: Path) -> None:
    done = cm(folder, "call", "add", "--json", '{"x": 2, "y": 3}', *MODULE)
    assert (done.returncode, json.loads(done.stdout)) == (0, 5)
    done = cm(folder, "event", "add", *MODULE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: add declares no inputs, so no event can be made for it" in done.stderr


def test_schema_of_half_a_module_is_not_written(folder: Path) -> None:
    app = folder / "app.py"
    app.write_text(HEAD + UNTYPED + "import no_such_package\n" + THREADS)
    done = cm(folder, "schema", "--write", *MODULE)
    assert done.returncode == 1
    assert "raised while it was imported (ModuleNotFoundError: No module named" in done.stderr
    assert not (folder / "schema.json").exists()
    done = cm(folder, "call", "add", "--json", '{"x": 2, "y": 3}', *MODULE)
    assert (done.returncode, done.stdout) == (0, "5\n")
    assert "warning: the module raised while it was imported" in done.stderr


def test_variable_is_passed_on_by_option_and_by_setting(folder: Path) -> None:
    body = UNTYPED.replace(
        'event["x"] + event["y"]', 'os.environ.get("A", "") + os.environ.get("B", "")'
    )
    (folder / "app.py").write_text(HEAD + body + THREADS)
    (folder / "pyproject.toml").write_text('[tool.foundry-cm]\nenv = ["A=1"]\n')
    done = cm(folder, "call", "add", "--json", "{}", "--env", "B=2", *MODULE)
    assert done.stdout == '"12"\n'


def test_time_limit_covers_the_start(folder: Path) -> None:
    (folder / "app.py").write_text("import time\ntime.sleep(60)\n")
    for words in (["call", "add", "--json", "{}"], ["schema"]):
        done = cm(folder, *words, "--timeout", "1", *MODULE)
        assert done.returncode == 1
        assert "error: The module did not ask for work within 1 s" in done.stderr


def _hold(port: int) -> AbstractContextManager[object]:
    """The port itself, which another test may give back at any moment; a server of somebody's keeps it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(CmError):
            return bind(port)
        time.sleep(0.05)
    return nullcontext()


def test_port_that_was_asked_for_is_taken_or_refused(folder: Path) -> None:
    with bind(0) as listener:
        port = str(listener.getsockname()[1])
        done = cm(folder, "schema", "--port", port, *MODULE)
        assert done.returncode == 2
        assert f"error: Port {port} on 127.0.0.1 is not free" in done.stderr
    with _hold(8945):
        done = cm(folder, "schema", *MODULE)
    assert "Port 8945 is taken: the runtime is localhost:" in done.stderr


def test_module_that_writes_beside_itself_is_not_restarted(folder: Path) -> None:
    body = UNTYPED.replace(
        "    return", '    open("last.json", "w").write("{}")\n    time.sleep(1)\n    return'
    )
    (folder / "app.py").write_text(HEAD + 'open("starts.log", "a").write("one")\n' + body + THREADS)
    with serving(folder, *MODULE) as server:
        done = cm(folder, "call", "add", "--json", '{"x": 2, "y": 3}')
        assert done.stdout == "5\n"
        assert "restarting the module" not in server.output
        (folder / "app.py").write_text(HEAD + UNTYPED.replace("+", "*") + THREADS)
        server.wait_for("app.py changed: restarting the module")
        server.wait_for("next: cm call", times=2)
        assert cm(folder, "call", "add", "--json", '{"x": 2, "y": 3}').stdout == "6\n"


def test_server_that_is_told_to_stop_lets_a_call_end(folder: Path) -> None:
    body = UNTYPED.replace(
        "    return", '    open("called", "w").close()\n    time.sleep(2)\n    return'
    )
    (folder / "app.py").write_text(HEAD + body + THREADS)
    with serving(folder, *MODULE) as server, ThreadPoolExecutor(1) as threads:
        call = threads.submit(cm, folder, "call", "add", "--json", '{"x": 2, "y": 3}')
        while not (folder / "called").exists():
            time.sleep(0.05)
        server.stop(signal.SIGINT)
        assert (call.result().returncode, call.result().stdout) == (0, "5\n")
        assert "stopping once 1 call is answered, in 30 s at most" in server.output
