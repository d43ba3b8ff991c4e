"""Modules that run, die, come back and stream, through the official SDK."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.functions import Function
from foundry_cm.testing import CallFailed, EventRefused, Foundry
from tests.conftest import Render
from tests.function.conftest import HEAD, PROCESSES, THREADS, Serve
from tests.interpreters import interpreter

ECHO = """
@function
def echo(context, event: Payload) -> str:
    return event.text
"""
OLDEST_SDK = "foundry-compute-modules==0.34.0"


def test_oldest_sdk_that_the_requirements_admit_answers(render: Render, tmp_path: Path) -> None:
    requirement = (render() / "requirements-template.txt").read_text().splitlines()[1]
    assert requirement.startswith(OLDEST_SDK.replace("==", ">=").removesuffix(".0"))
    module = render(tmp_path / "module", example="blank")
    with Foundry(module, [interpreter("3.11", OLDEST_SDK), "src/app.py"]) as foundry:
        assert foundry.call("process", {"text": "hi"}) == {"text": "hi", "length": 0}


def test_typed_context_and_plain_context_both_reach_the_handler(serve: Serve) -> None:
    body = """
    from compute_modules.context import QueryContext

    @function
    def typed(context: QueryContext, event: Payload) -> str:
        return context.jobId

    @function
    def plain(context, event: Payload) -> str:
        return context["jobId"]
    """
    with serve(body) as foundry:
        assert (
            len(foundry.call("typed", {"text": ""}))
            == len(foundry.call("plain", {"text": ""}))
            == 36
        )


def test_streaming_function_gives_all_its_items(serve: Serve) -> None:
    body = """
    from typing import Iterable

    @function(streaming=True)
    def letters(context, event: Payload) -> Iterable[str]:
        yield from "abc"

    @function(streaming=True)
    def numbers(context, event: Payload) -> Iterable[int]:
        yield from range(3)

    @function(streaming=True)
    def none(context, event: Payload) -> Iterable[int]:
        yield from ()
    """
    with serve(body) as foundry:
        assert foundry.call("letters", {"text": ""}) == ["a", "b", "c"]
        assert foundry.call("none", {"text": ""}) == []
        with pytest.raises(CallFailed, match="The 3 streamed items run together: as b'012'"):
            foundry.call("numbers", {"text": ""})


def test_stream_that_breaks_off_is_a_failure_not_a_short_answer(serve: Serve) -> None:
    body = """
    from typing import Iterable

    @function(streaming=True)
    def count(context, event: Payload) -> Iterable[int]:
        yield 1
        raise ValueError("after the first")
    """
    with serve(body) as foundry:
        with pytest.raises(CallFailed, match="The streamed result broke off"):
            foundry.call("count", {"text": ""})


def test_stream_of_a_rendered_module_ends_with_the_failure(render: Render, tmp_path: Path) -> None:
    module = render(tmp_path / "module", example="blank")
    app = module / "src/app.py"
    text = (
        app.read_text()
        .replace("@function\n", "@function(streaming=True)\n")
        .replace("-> ProcessResult", "-> list[ProcessResult]")
    )
    start = text.index("    return ProcessResult(")
    text = (
        text[:start]
        + '    yield ProcessResult(text="one", length=1)\n    raise ValueError("secret")\n\n\nif __name__ == "__main__":\n    start()\n'
    )
    app.write_text(text)
    with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
        with pytest.raises(CallFailed, match="process failed on job"):
            foundry.call("process", {"text": ""})
        assert "ValueError: secret" in foundry.output


EVENTS = [
    ({}, "event.text is missing"),
    ({"text": 1}, "event.text is 1, not text"),
    ({"text": None}, "event.text is null, not text"),
    ({"text": "", "more": 1}, "event.more is not a field of this record"),
    ({"txet": ""}, 'event.txet is not a field of this record\nDid you mean "text"?'),
    ([], "event is a list, not a record"),
]


@pytest.mark.parametrize(("event", "reason"), EVENTS, ids=[str(event) for event, _ in EVENTS])
def test_event_is_refused_before_the_module_sees_it(
    serve: Serve, event: object, reason: str
) -> None:
    body = ECHO.replace("return event.text", "print('seen'); return event.text")
    with serve(body) as foundry:
        with pytest.raises(EventRefused) as refused:
            foundry.call("echo", event)
        assert reason in str(refused.value)
        assert "seen" not in foundry.output
        foundry.call("echo", {"text": "hi"})
        assert "seen" in foundry.output


def test_path_of_a_refused_field_goes_into_lists_and_records(serve: Serve) -> None:
    body = """
    @dataclass
    class Line:
        price: float

    @dataclass
    class Order:
        lines: list[Line]

    @function
    def total(context, event: Order) -> float:
        return sum(line.price for line in event.lines)
    """
    with serve(body) as foundry:
        assert foundry.call("total", {"lines": [{"price": 1.5}, {"price": 2}]}) == 3.5
        with pytest.raises(EventRefused, match=r'event\.lines\[1\]\.price is "2", not a number'):
            foundry.call("total", {"lines": [{"price": 1.5}, {"price": "2"}]})


def test_replicas_that_declare_the_same_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"{HEAD}{ECHO.replace('event: Payload', 'event')}{THREADS}")
    told: list[tuple[int, int]] = []

    class Told(Reporter):
        def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
            told.append((len(functions), len(warnings)))

    async def run() -> None:
        settings = Settings(command=[sys.executable, "app.py"], folder=tmp_path, replicas=2)
        async with LocalFoundry(settings, Told()) as foundry:
            while not all(replica.responsive for replica in foundry.replicas):
                await asyncio.sleep(0.05)

    asyncio.run(run())
    assert told == [(1, 1)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "raise RuntimeError('no weights')",
            "exited with code 1 before it declared its functions: RuntimeError: no weights",
        ),
        (
            "import nothing_of_that_name",
            "ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("sys.exit(3)", "exited with code 3 before it declared its functions and printed nothing"),
        ("print('bye'); sys.exit(0)", "exited with code 0 before it declared its functions: bye"),
    ],
)
def test_module_that_dies_at_its_start_is_reported_with_the_reason(
    serve: Serve, body: str, reason: str
) -> None:
    with pytest.raises(CmError) as died:
        with serve(body + "\n", head="import sys\n", tail=""):
            pass
    assert reason in died.value.what
    # A program that fails has another fault than the missing start.
    assert bool(died.value.fix) == ("exited with code 0" in reason)
    if "Error" in reason:
        assert died.value.where is not None
        assert died.value.where.split("/")[-1].startswith("app.py:")


def test_type_that_the_sdk_refuses_is_for_cm_check_to_name(serve: Serve) -> None:
    body = """
    @function
    def echo(context, event: int | str) -> str:
        return ""
    """
    head = HEAD + "import atexit\natexit.unregister(start_compute_module)\n"
    with pytest.raises(CmError) as died, serve(body, head=head, tail=""):
        pass
    assert died.value.fix == (
        "The SDK takes no such type in a function: cm check names the field, and what to write."
    )


def test_replica_that_never_answers_is_started_again_once_nobody_waits(serve: Serve) -> None:
    body = """
    @function
    def wait(context, event: Payload) -> str:
        while event.text:
            time.sleep(0.1)
        return "answered"
    """
    with serve(body, restart=True) as foundry:
        with pytest.raises(CallFailed, match="No answer within 1 s"):
            foundry.call("wait", {"text": "for ever"}, timeout=1)
        assert foundry.call("wait", {"text": ""}, timeout=10) == "answered"


def test_replica_that_still_has_room_is_left_alone(serve: Serve) -> None:
    body = """
    @function
    def wait(context, event: Payload) -> int:
        if event.text:
            time.sleep(3)
        return os.getpid()
    """
    with serve(body, restart=True, concurrency=2) as foundry:
        before = foundry.call("wait", {"text": ""})
        with pytest.raises(CallFailed, match="No answer within 1 s"):
            foundry.call("wait", {"text": "for long"}, timeout=1)
        assert foundry.call("wait", {"text": ""}) == before


def test_command_that_does_not_exist_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(
        CmError, match="The module cannot be started: no-such-program: No such file"
    ):
        with Foundry(tmp_path, ["no-such-program"]):
            pass


def test_dead_module_comes_back(serve: Serve) -> None:
    body = """
    @function
    def crash(context, event: Payload) -> str:
        if event.text:
            os._exit(7)
        return "alive"
    """
    with serve(body, restart=True) as foundry:
        with pytest.raises(CallFailed, match="exited with code 7"):
            foundry.call("crash", {"text": "now"})
        deadline = time.monotonic() + 20
        while True:
            try:
                assert foundry.call("crash", {"text": ""}) == "alive"
                break
            except CallFailed:
                assert time.monotonic() < deadline
                time.sleep(0.2)


def test_replicas_share_one_queue(serve: Serve) -> None:
    body = """
    @function
    def pid(context, event: Payload) -> int:
        time.sleep(0.3)
        return os.getpid()
    """
    with serve(body, replicas=2) as foundry, ThreadPoolExecutor(4) as threads:
        pids = set(threads.map(lambda _: foundry.call("pid", {"text": ""}), range(4)))
    assert len(pids) == 2


@pytest.mark.parametrize(
    "tail", [PROCESSES, 'import subprocess\nsubprocess.Popen(["sleep", "600"])\n' + PROCESSES]
)
def test_no_process_is_left_behind(serve: Serve, tail: str) -> None:
    with serve(ECHO, tail=tail, concurrency=3) as foundry:
        process = foundry.local.replicas[0]._process
        assert process is not None
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        assert len(family) > 3
        began = time.monotonic()
    assert time.monotonic() - began < 3
    _, left = psutil.wait_procs(family, timeout=1)
    # One that nobody has collected yet has ended all the same.
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_module_that_declares_nothing_is_called_all_the_same(serve: Serve) -> None:
    body = """
    import requests
    URI, HEADERS = os.environ, {"Module-Auth-Token": open(os.environ["MODULE_AUTH_TOKEN"]).read()}
    CA = os.environ["DEFAULT_CA_PATH"]
    while True:
        answer = requests.get(URI["GET_JOB_URI"], headers=HEADERS, verify=CA)
        if answer.status_code == 200:
            job = answer.json()["computeModuleJobV1"]
            requests.post(URI["POST_RESULT_URI"] + "/" + job["jobId"], data=b"42", headers=HEADERS, verify=CA)
    """
    with serve(body, head="import os\n", tail="") as foundry:
        assert foundry.call("any", {"x": 1}) == 42


def test_hand_written_module_needs_no_dockerfile_and_no_settings(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text(HEAD + ECHO + PROCESSES)
    with Foundry(tmp_path) as foundry:
        assert foundry.call("echo", {"text": "hi"}) == "hi"


def test_line_without_an_end_is_cut_and_costs_no_more_than_its_length(serve: Serve) -> None:
    body = """
    @function
    def write(context, event: Payload) -> str:
        for _ in range(30):
            os.write(1, b"x" * 1_000_000)
        os.write(1, bytes([10]))
        return "written"
    """
    with serve(body) as foundry:
        assert foundry.call("write", {"text": ""}, timeout=20) == "written"
        deadline = time.monotonic() + 10
        while "(29,934,464 bytes more)" not in foundry.output:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert max(map(len, foundry.output.splitlines())) < 70_000


@pytest.mark.skipif(sys.platform != "linux", reason="has no real-time signals")
def test_module_that_a_real_time_signal_ends_is_reported_with_its_number(serve: Serve) -> None:
    body = """
    @function
    def end(context, event: Payload) -> str:
        os.kill(os.getpid(), 40)
        return ""
    """
    with serve(body) as foundry, pytest.raises(CallFailed, match="was killed by signal 40"):
        foundry.call("end", {"text": ""}, timeout=10)


def test_no_call_in_flight_is_lost_at_sigterm(render: Render, tmp_path: Path) -> None:
    module = render(tmp_path / "module", example="blank")
    app = module / "src/app.py"
    slow = "    import time\n\n    time.sleep(2)\n    return ProcessResult("
    app.write_text(app.read_text().replace("    return ProcessResult(", slow))
    with Foundry(module, replicas=4, concurrency=50, restart=True) as foundry:
        with ThreadPoolExecutor(200) as threads:
            calls = [threads.submit(foundry.call, "process", {"text": str(n)}) for n in range(200)]
            deadline = time.monotonic() + 20
            while foundry.local.running < 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            for replica in foundry.local.replicas:
                os.kill(replica.pid or 0, signal.SIGTERM)
            assert [call.result()["text"] for call in calls] == [str(n) for n in range(200)]
    assert "Connection pool is full" not in foundry.output
    assert foundry.output.count("Stopping on SIGTERM") >= 4


def test_replicas_share_what_is_in_scratch(serve: Serve, tmp_path: Path) -> None:
    body = """
    from scratch import DistributedCache, DistributedLock

    @function
    def count(context, event: Payload) -> int:
        while not (lock := DistributedLock().try_lock("count")):
            time.sleep(0.01)
        with lock:
            cache = DistributedCache()
            seen = int(cache.get("seen") or 0) + 1
            cache.put("seen", str(seen))
        return seen
    """
    with serve(body, replicas=2, scratch=True) as foundry:
        results = [foundry.call("count", {"text": ""}) for _ in range(4)]
        assert results == [1, 2, 3, 4]
    with serve(body) as foundry, pytest.raises(CallFailed, match="here it is with scratch = true"):
        foundry.call("count", {"text": ""})


def test_ontology_edits_pass_through_with_their_provenance(serve: Serve) -> None:
    body = """
    from typing import Union

    class AddObject: pass
    class ModifyObject: pass
    class DeleteObject: pass
    class AddLink: pass
    class RemoveLink: pass

    class Ticket:
        @staticmethod
        def api_name():
            return "Ticket"

    Edit = Union[AddObject, ModifyObject, DeleteObject, AddLink, RemoveLink]

    @function(edits=[Ticket])
    def close(context, event: Payload) -> list[Edit]:
        return [{"type": "modifyObject", "modifyObject": {"status": event.text}}]
    """
    with serve(body) as foundry:
        close = foundry.functions["close"]
        assert close.signature() == "close(text: string) -> list[ontologyEdit]"
        # The ids of the types are known to Foundry's static inference alone.
        assert close.schema["ontologyProvenance"] == {"editedObjects": {}, "editedLinks": {}}
        assert foundry.warnings == []
        edit = {"type": "modifyObject", "modifyObject": {"status": "closed"}}
        assert foundry.call("close", {"text": "closed"}) == [edit]


def test_64_calls_run_at_once_in_one_replica_without_a_warning(
    render: Render, tmp_path: Path
) -> None:
    module = render(tmp_path / "module", example="blank")
    app = module / "src/app.py"
    together = "    together.wait(20)\n    return ProcessResult("
    text = app.read_text().replace("    return ProcessResult(", together)
    started = "import threading\n\ntogether = threading.Barrier(64)\n"
    app.write_text(text.replace("\n@dataclass", f"\n{started}\n\n@dataclass", 1))
    with Foundry(module, concurrency=64) as foundry, ThreadPoolExecutor(64) as threads:
        calls = [threads.submit(foundry.call, "process", {"text": str(n)}) for n in range(128)]
        assert [call.result()["text"] for call in calls] == [str(n) for n in range(128)]
    assert "WARNING" not in foundry.output and "Connection pool is full" not in foundry.output
