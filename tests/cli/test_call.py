"""Calls from the command line: streams, logs, many calls, and what the shell completes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundry_cm.testing import CallFailed, Foundry
from tests.cli.conftest import CM, Server, cm
from tests.function.conftest import HEAD, THREADS

# The second item waits for a file, so a test has the first one in hand while there is no second.
APP = """
from typing import Iterable

@function(streaming=True)
def count(context, event: Payload) -> Iterable[str]:
    print("counting", event.text, flush=True)
    for number in range(3):
        yield f"{event.text}{number}"
        while not os.path.exists("go"):
            time.sleep(0.02)
    if event.text == "break":
        raise ValueError("broken")

@function
def fail(context, event: Payload) -> str:
    print("about to fail:", event.text, flush=True)
    if event.text == "odd":
        raise ValueError("odd")
    return event.text
"""
ITEMS = ["a0", "a1", "a2"]


def event(text: str = "a") -> str:
    return json.dumps({"text": text})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streams")
    (made / "app.py").write_text(HEAD + APP + THREADS)
    (made / "pyproject.toml").write_text(
        f"[tool.foundry-cm]\ncommand = [{json.dumps(sys.executable)}, 'app.py']\n"
    )
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder)
    try:
        running.wait_for("next: cm call")
        yield running
    finally:
        running.stop()


@pytest.fixture
def slow(folder: Path) -> Iterator[Path]:
    """The file that lets a stream go on."""
    go = folder / "go"
    go.unlink(missing_ok=True)
    yield go
    go.touch()


@pytest.mark.parametrize("at_server", [True, False])
def test_first_item_of_a_stream_is_there_before_the_second(
    folder: Path, slow: Path, at_server: bool, request: pytest.FixtureRequest
) -> None:
    if at_server:
        request.getfixturevalue("server")
    words = [] if at_server else ["--port", "0", "--", sys.executable, "app.py"]
    call = subprocess.Popen(
        [CM, "call", "count", "--json", event(), *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert call.stdout
    assert json.loads(call.stdout.readline()) == ITEMS[0]
    assert call.poll() is None
    slow.touch()
    assert [json.loads(line) for line in call.stdout] == ITEMS[1:]
    assert call.wait(20) == 0


def test_first_item_of_a_stream_reaches_a_test_before_the_second(folder: Path, slow: Path) -> None:
    with Foundry(folder) as foundry:
        items = foundry.stream("count", {"text": "a"})
        assert next(items) == ITEMS[0]
        slow.touch()
        assert list(items) == ITEMS[1:]
        with pytest.raises(CallFailed, match="The streamed result broke off"):
            list(foundry.stream("count", {"text": "break"}))
        with pytest.raises(CallFailed, match="fail gave one result and no stream"):
            list(foundry.stream("fail", {"text": "even"}))


def test_logs_of_a_call_are_those_of_no_other(server: Server) -> None:
    (server.folder / "go").touch()
    cm(server.folder, "call", "fail", "--json", event("before"))
    done = cm(server.folder, "call", "fail", "--json", event("mine"), "--logs")
    assert [line for line in done.stderr.splitlines() if "|" in line] == ["  | about to fail: mine"]
    assert json.loads(done.stdout) == "mine"


def test_call_that_is_repeated_tells_its_times_and_the_last_result(server: Server) -> None:
    (server.folder / "go").touch()
    done = cm(server.folder, "call", "count", "--json", event(), "-n", "3")
    assert re.search(
        r"^count was called 3 times, p50 [\d.]+ m?s, p95 [\d.]+ m?s$", done.stderr, re.M
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == ITEMS
    done = cm(server.folder, "call", "fail", "--json", event("odd"), "--repeat", "3")
    assert done.returncode == 1
    assert done.stderr.count("error: ValueError: odd") == 1
    assert "fail was called 3 times, 3 failed" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [("cm ca", ["call"]), ("cm call ", ["search"]), ("cm event s", ["search"]), ("cm call x", [])],
)
def test_shell_completes_verbs_and_functions_and_starts_nothing(
    search_module: Path, words: str, offered: list[str]
) -> None:
    typed = words.split()
    last = len(typed) if words.endswith(" ") else len(typed) - 1
    env = {
        **os.environ,
        "_CM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(last),
    }
    done = cm(search_module, env=env)
    assert (done.stdout.split(), done.stderr) == (offered, "")
