"""What a person reads when a call fails: the cause where there is evidence for it, and no guess."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from foundry_cm.testing import CallFailed, EventRefused
from tests.cli.conftest import cm, serving
from tests.conftest import LINUX
from tests.function.conftest import HEAD, PROCESSES, THREADS, Serve

pytestmark = LINUX

UNSENDABLE = """
import asyncio

class Shelf:
    pass

@function
async def waits(context, event: Payload) -> str:
    await asyncio.sleep(0)
    return ""

@function
def yields(context, event: Payload) -> list[str]:
    return (letter for letter in event.text)

@function
def in_a_list(context, event: Payload) -> list[str]:
    return [Shelf()]

@function
def a_set(context, event: Payload) -> set[str]:
    return {"a"}

@function
def a_cycle(context, event: Payload) -> dict[str, str]:
    found = {}
    found["self"] = found
    return found

@function
def beside_itself(context, event: Payload) -> str:
    return __file__
"""
REASONS = {
    "waits": ("waits is async def, and the SDK does not await it", "asyncio.run()"),
    "yields": ("yields gives a generator, and is not registered for streaming", "streaming=True"),
    "in_a_list": ("in_a_list returns a Shelf, which is no dataclass", "Make Shelf a dataclass"),
    "a_set": ("Circular reference detected", "return plain Python values, here a list."),
    "a_cycle": ("Circular reference detected", "or holds itself."),
    "beside_itself": ("name '__file__' is not defined", "Python has taken __file__ away by then"),
}


def test_result_that_is_no_json_is_explained_by_the_handlers_code(serve: Serve) -> None:
    with serve(UNSENDABLE, tail="") as foundry:
        for name, (what, fix) in REASONS.items():
            with pytest.raises(CallFailed) as failed:
                foundry.call(name, {"text": "ab"})
            told = str(failed.value)
            assert what in told
            assert fix in told
            assert "NumPy" not in told
            assert "json/encoder.py" not in told
            assert re.search(r"app\.py:\d+", told)


HANGS = """
@function
def hangs(context, event: Payload) -> str:
    while True:
        time.sleep(0.2)
"""


@pytest.mark.parametrize("tail", [PROCESSES, THREADS], ids=["processes", "threads"])
def test_call_without_an_end_tells_where_the_handler_stands(serve: Serve, tail: str) -> None:
    with serve(HANGS, tail=tail, once=True, timeout_seconds=2) as foundry:
        with pytest.raises(CallFailed) as failed:
            foundry.call("hangs", {"text": ""}, timeout=2)
    told = str(failed.value)
    assert "No answer within 2 s, though the module is still running: hangs has been" in told
    assert "time.sleep(0.2)" in told
    assert "THREAD_POOL" not in told


def test_pool_that_was_forked_after_threads_is_a_hint_with_its_evidence(serve: Serve) -> None:
    body = """
    from concurrent.futures import ThreadPoolExecutor
    WARM = ThreadPoolExecutor(1)
    WARM.submit(time.sleep, 0).result()

    @function
    def echo(context, event: Payload) -> str:
        return WARM.submit(str.upper, event.text).result()
    """
    with serve(body, tail=PROCESSES) as foundry:
        with pytest.raises(
            CallFailed, match="The module had 1 thread of its own when the SDK forked"
        ):
            foundry.call("echo", {"text": "hi"}, timeout=2)


LOGS = """
import logging
try:
    import fast_tables
except ImportError:
    logging.exception("the slow ones are used")

@function
def echo(context, event: Payload) -> str:
    return event.text
"""


def test_exception_that_was_caught_and_logged_is_no_broken_import(serve: Serve) -> None:
    with serve(LOGS, tail="") as foundry:
        assert foundry.call("echo", {"text": "hi"}) == "hi"
        assert "No module named 'fast_tables'" in foundry.output
        assert foundry.warnings == []


def test_what_a_broken_import_keeps_away_is_named_with_the_reason(serve: Serve) -> None:
    after = (
        "\nraise KeyError('region')\n\n@function\ndef level(context, event: Payload) -> str: ...\n"
    )
    with serve(LOGS + after, tail="") as foundry:
        assert re.fullmatch(
            r"the module raised while it was imported \(KeyError: 'region', .*app.py:\d+\) and the SDK "
            "started it all the same: level is missing",
            foundry.warnings[0],
        )
        with pytest.raises(EventRefused) as refused:
            foundry.call("level", {"text": "hi"})
        assert "it raised while it was imported (KeyError: 'region'" in str(refused.value)


def test_annotations_that_are_text_are_named(serve: Serve) -> None:
    with serve(LOGS, head="from __future__ import annotations\n" + HEAD, tail="") as foundry:
        with pytest.raises(EventRefused, match="Take `from __future__ import annotations` out of "):
            foundry.call("echo", {"text": "hi"})


def test_optional_scalar_is_no_warning(serve: Serve) -> None:
    body = """
    from datetime import datetime
    from typing import Optional

    @dataclass
    class Odd:
        name: Optional[str]
        tags: Optional[list[int]]
        when: Optional[datetime]

    @function
    def kind(context, event: Odd) -> str:
        return type(event.when).__name__
    """
    with serve(body) as foundry:
        assert [text.split(" is ")[0] for text in foundry.warnings] == ["kind: event.when"]


def test_program_that_never_asks_for_work_shows_its_last_lines(serve: Serve) -> None:
    body = "print('waiting for the licence', flush=True)\ntime.sleep(60)\n"
    with pytest.raises(
        Exception, match="did not ask for work within 4 s; it printed last:"
    ) as failed:
        with serve(body, timeout_seconds=4):
            pass
    assert getattr(failed.value, "details", "") == "  waiting for the licence"
    assert getattr(failed.value, "fix", "") is None


def test_workers_that_lose_their_pool_at_the_end_print_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(dedent(HEAD) + LOGS)
    done = cm(tmp_path, "call", "echo", "--json", '{"text": "hi"}', "--", sys.executable, "app.py")
    assert (done.returncode, done.stdout) == (0, '"hi"\n')
    assert "BrokenPipe" not in done.stderr
    assert "Process Fork" not in done.stderr


HOSTILE = """
import json, os, ssl, sys, urllib.request

EVIL = "\\x1b]52;c;ZXZpbA==\\x07\\x9b2J\\rok\\u202e"
print("log", EVIL, "\\x1b[31mred\\x1b[0m", flush=True)
TLS = ssl.create_default_context(cafile=os.environ["DEFAULT_CA_PATH"])
TOKEN = open(os.environ["MODULE_AUTH_TOKEN"]).read()

def ask(uri, body=None):
    request = urllib.request.Request(uri, body, {"Module-Auth-Token": TOKEN})
    with urllib.request.urlopen(request, context=TLS) as answer:
        return answer.status, answer.read()

output = {"single": {"dataType": {"type": "string", "string": {}}}}
schema = [{"functionName": name, "inputs": [], "output": output} for name in ("echo", "echp" + EVIL)]
ask(os.environ["POST_SCHEMA_URI"], json.dumps(schema).encode())
while True:
    status, body = ask(os.environ["GET_JOB_URI"])
    if status == 200:
        job = json.loads(body)["computeModuleJobV1"]
        result = json.dumps(EVIL) if job["query"] else json.dumps({"exception": "E" + EVIL + ": Traceback"})
        ask(os.environ["POST_RESULT_URI"] + "/" + job["jobId"], result.encode())
"""


def test_nothing_of_a_hostile_module_reaches_the_terminal_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HOSTILE, encoding="utf-8")
    command = ("--", sys.executable, "app.py")
    shown = ""
    for args in (
        ["echo", "--json", "{}"],
        ["echo", "--json", '{"a": 1}'],
        ["echpx", "--json", "{}"],
    ):
        done = cm(tmp_path, "call", *args, *command)
        assert "Traceback (most" not in done.stderr
        shown += done.stdout + done.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "log \\u001b]52;c;ZXZpbA==\\u0007\\u009b2J\\rok\\u202e red" in shown


def test_half_a_schema_is_never_written_whoever_runs_the_module(tmp_path: Path) -> None:
    after = (
        "\nraise KeyError('region')\n\n@function\ndef level(context, event: Payload) -> str: ...\n"
    )
    (tmp_path / "own.py").write_text(dedent(HEAD) + LOGS + after)
    command = ("--", sys.executable, "own.py")
    with serving(tmp_path, "--no-reload", *command):
        for args in ((), command):
            done = cm(tmp_path, "schema", "--write", *args)
            assert done.returncode == 1
            assert (
                "error: The module raised while it was imported (KeyError: 'region'" in done.stderr
            )
            assert "level is missing" in done.stderr
    assert not (tmp_path / "schema.json").exists()
