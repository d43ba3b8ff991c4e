"""Stopping inside a module: with an editor that attaches, with pdb in the terminal, and without either."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import psutil
import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.addresses import bind
from foundry_cm.local.debugger import under_debugpy
from tests.cli.conftest import CM, Server, cm
from tests.cli.dap import Editor
from tests.conftest import UNIX, Render
from tests.function.conftest import HEAD, THREADS

APP = """
@function
def shout(context, event: Payload) -> str:
    loud = event.text.upper()
    return loud + "!"
"""
EVENT = '{"text": "hello"}'


def free_number() -> int:
    with bind(0) as listener:
        return int(listener.getsockname()[1])


def hand_written(folder: Path, app: str = APP) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(HEAD + app + THREADS)
    return folder / "app.py"


def line_of(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def calling(folder: Path, function: str = "shout") -> subprocess.Popen[str]:
    words = [CM, "call", function, "--json", EVENT]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def attach_line(server: Server) -> str:
    server.wait_for("debugger 127.0.0.1:")
    found = re.search(r"debugger (127\.0\.0\.1:\d+)", server.output)
    assert found
    return found[1]


def test_editor_stops_reads_a_value_goes_on_and_stays_over_a_reload(tmp_path: Path) -> None:
    app = hand_written(tmp_path / "module")
    server = Server(app.parent, "--debug", "--wait", "--", sys.executable, "app.py")
    try:
        address = attach_line(server)
        with Editor(address) as editor:
            editor.attach((app, line_of(app, "return loud")))
            server.wait_for("next: cm call shout")
            call = calling(app.parent)
            thread, frame = editor.stopped()
            assert (frame["name"], frame["line"]) == ("shout", line_of(app, "return loud"))
            assert editor.value(frame, "loud") == "'HELLO'"
            editor.go_on(thread)
            assert json.loads(call.communicate(timeout=120)[0]) == "HELLO!"
            app.write_text(app.read_text().replace('"!"', '"?"'))
            editor.event("terminated")
        with Editor(address) as editor:
            editor.attach((app, line_of(app, "return loud")))
            call = calling(app.parent)
            thread, _ = editor.stopped()
            editor.go_on(thread)
            assert json.loads(call.communicate(timeout=120)[0]) == "HELLO?"
        family = psutil.Process(server.process.pid).children(recursive=True)
    finally:
        server.stop()
    assert psutil.wait_procs(family, 5)[1] == []


@pytest.mark.parametrize(
    ("command", "started"),
    [
        ("python app.py x", "python {} app.py x"),
        ("python3.13 -u -X dev -Wd -m package.main --port 1", "python3.13 -u -X dev -Wd {} -m package.main --port 1"),
        ("python -um main", "python -u {} -m main"),
        ("uv run python -W ignore app.py", "uv run python -W ignore {} app.py"),
        ("./script a", "/usr/bin/env python3 {} SCRIPT a"),
    ],
)  # fmt: skip
def test_every_command_that_is_python_is_put_under_debugpy(
    tmp_path: Path, command: str, started: str
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env python3\nprint()\n")
    debugpy = "-X frozen_modules=off -m debugpy --listen 127.0.0.1:7 --wait-for-client"
    expected = started.format(debugpy).replace("SCRIPT", str(script)).split()
    assert under_debugpy(command.split(), tmp_path, 7, wait=True) == expected


@pytest.mark.parametrize("command", ["node app.mjs", "sh start.sh", "uv run app.py"])
def test_another_language_is_told_to_bring_its_own_debugger(tmp_path: Path, command: str) -> None:
    with pytest.raises(CmError) as refused:
        under_debugpy(command.split(), tmp_path, 7, wait=False)
    assert refused.value.what == (
        f"Only Python runs under debugpy and pdb, and this command names none: {command}"
    )
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--debug", "--pdb"], "error: Both --debug and --pdb were given"),
        (["--pdb"], "error: --pdb needs a terminal"),
        (["--debug", "--replicas", "2"], "error: --replicas does not go with --debug and --pdb"),
        (["--debug", "--", "python-less"], "names none: python-less"),
    ],
)
def test_what_cannot_be_debugged_is_refused(
    search_module: Path, words: list[str], message: str
) -> None:
    done = cm(search_module, "serve", *words)
    assert done.returncode == 2
    assert message in done.stderr


@UNIX
def test_breakpoint_stops_in_the_terminal_that_the_module_is_given(tmp_path: Path) -> None:
    app = hand_written(
        tmp_path / "module", APP.replace("    return", "    breakpoint()\n    return")
    )
    words = ["serve", "--pdb", "--port", "0", "--panel-port", "0", "--", sys.executable, "app.py"]
    terminal = pexpect.spawn(CM, words, cwd=app.parent, encoding="utf-8", timeout=120)
    try:
        terminal.expect("breakpoint\\(\\) in your code stops in this terminal")
        terminal.expect("next: ")
        call = calling(app.parent)
        terminal.expect("\\(Pdb\\) ")
        terminal.sendline("p loud")
        terminal.expect("'HELLO'")
        terminal.sendline("c")
        assert json.loads(call.communicate(timeout=120)[0]) == "HELLO!"
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)


def test_rendered_launch_settings_start_a_pipeline_and_stop_in_process(
    render: Render, tmp_path: Path
) -> None:
    module = render(tmp_path / "module", execution_mode="pipeline")
    launch, tasks = (
        json.loads((module / f".vscode/{name}.json").read_text()) for name in ("launch", "tasks")
    )
    settings, task = launch["configurations"][0], tasks["tasks"][0]
    assert task["label"] == settings["preLaunchTask"]
    # 5678 may be in use here.
    port = str(free_number())
    words = [port if word == "5678" else word for word in task["args"]]
    app = module / "src/app.py"
    log = (tmp_path / "log").open("w+")
    running = subprocess.Popen([sys.executable, *words], cwd=module, stdout=log, stderr=log)
    try:
        ready = re.compile(task["problemMatcher"]["background"]["endsPattern"])
        deadline = time.monotonic() + 30
        while not ready.search((tmp_path / "log").read_text()):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        settings["connect"]["port"] = int(port)
        with Editor(f"127.0.0.1:{port}") as editor:
            line = line_of(app, "    return ")
            editor.attach((app, line), **settings)
            _, frame = editor.stopped()
            assert (frame["name"], frame["line"]) == ("process", line)
            assert "pyarrow.Table" in editor.value(frame, "batch")
            # A person who has seen enough: the module goes on without the editor.
            editor.ask("disconnect", terminateDebuggee=False)
        assert running.wait(60) == 0
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait(10)
    assert "errors" in (tmp_path / "log").read_text()


def test_breakpoint_without_a_terminal_says_how_to_get_one(blank: Path, tmp_path: Path) -> None:
    app = blank / "src/app.py"
    app.write_text(app.read_text().replace("    return ", "    breakpoint()\n    return "))
    done = cm(blank, "call", "process")
    assert done.returncode == 1
    assert (
        "error: breakpoint() was reached, and this process has no terminal. On a laptop, cm serve "
        "and "
        "cm run give it one with --pdb, and let an editor attach with --debug"
    ) in done.stderr
    folder = hand_written(
        tmp_path / "module", APP.replace("    return", "    breakpoint()\n    return")
    )
    done = cm(folder.parent, "call", "shout", "--json", EVENT, "--", sys.executable, "app.py")
    assert "fix:   breakpoint() needs a terminal: --pdb gives the module this one" in done.stderr
