"""What a rendered module logs: whose call a line is of, how much, and as what."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path

import pytest

from foundry_cm.testing import Foundry, Pipeline
from tests.conftest import Render

# Every way in which a handler hands work on; the pools are made where the YOLO example makes its own.
HEAD = """import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

from compute_modules.logging import get_logger

log = logging.getLogger("mine")
EXECUTOR, POOL = ThreadPoolExecutor(2), ThreadPool(2)
BARRIER = threading.Barrier(2)
"""
BODY = """    def say(where: object) -> None:
        log.info("%s from %s", event.text, where)

    # Two calls at a time: each line has to find its own.
    BARRIER.wait(20)
    say("the handler")
    thread = threading.Thread(target=say, args=["a thread"])
    thread.start()
    thread.join()
    EXECUTOR.submit(EXECUTOR.submit, say, "an executor, twice").result().result()
    list(EXECUTOR.map(say, ["a map"]))
    POOL.apply_async(say, ["a pool"]).get()
    POOL.map(func=say, iterable=["the map of a pool"])
    list(POOL.imap(say, ["an imap"]))
    asyncio.run(asyncio.to_thread(say, "asyncio"))
    get_logger("sdk").warning("%s from the SDK", event.text)
    try:
        1 // 0
    except ZeroDivisionError:
        log.exception("%s from an error", event.text)
"""
PLACES = 10


@pytest.fixture(scope="module")
def module(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = render(tmp_path_factory.mktemp("logs") / "module", example="blank")
    app = folder / "src/app.py"
    start, rest = app.read_text().split("from dataclasses", 1)
    handler = rest.replace("    return Proc", f"{BODY}    return Proc")
    assert BODY in handler
    app.write_text(f"{start}{HEAD}from dataclasses{handler}")
    return folder


def two_calls(foundry: Foundry) -> list[str]:
    """The lines of two calls at a time, with the texts `one` and `two`."""
    texts = ("one", "two")
    calls = [
        threading.Thread(target=foundry.call, args=["process", {"text": text}]) for text in texts
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    return [line for line in foundry.output.splitlines() if re.search(r"\b(one|two) from ", line)]


def test_each_line_names_its_job_in_whatever_thread_it_is_written(module: Path) -> None:
    with Foundry(module, concurrency=2) as foundry:
        lines = two_calls(foundry)
    jobs = {
        text: {
            found[1]
            for line in lines
            if f"{text} from " in line and (found := re.search(r" \[([0-9a-f-]{36})\]: ", line))
        }
        for text in ("one", "two")
    }
    assert [len(found) for found in jobs.values()] == [1, 1]
    assert jobs["one"] != jobs["two"]
    mine = [
        line for line in lines if " INFO mine" in line or " sdk" in line or " ERROR mine" in line
    ]
    assert len(mine) == 2 * PLACES
    assert all(re.search(r" \[[0-9a-f-]{36}\]: ", line) for line in mine)
    # The SDK's own lines, which it writes beside them for Foundry's collector.
    own = [json.loads(line) for line in lines if line.startswith("{")]
    assert {line["params"]["job_id"] for line in own} == jobs["one"] | jobs["two"]


def test_lines_are_json_objects_and_few_where_that_is_asked_for(module: Path) -> None:
    env = {"LOG_FORMAT": "json", "LOG_LEVEL": "warning"}
    with Foundry(module, concurrency=2, env=env) as foundry:
        lines = [json.loads(line) for line in two_calls(foundry)]
    [error, _] = [line for line in lines if line.get("logger") == "mine"]
    assert error.keys() == {"time", "level", "logger", "message", "job", "traceback"}
    assert (error["level"], len(error["job"])) == ("ERROR", 36)
    assert error["traceback"].endswith("ZeroDivisionError: integer division or modulo by zero")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", error["time"])


def test_a_level_that_there_is_none_of_is_named(module: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(module, tmp_path / "module")
    with Foundry(folder, env={"LOG_LEVEL": "loud"}) as foundry:
        assert "LOG_LEVEL is LOUD; use DEBUG, INFO or WARNING" in foundry.output


def test_a_pipeline_names_the_rows_that_it_works_on(render: Render, tmp_path: Path) -> None:
    folder = render(tmp_path / "module", execution_mode="pipeline")
    app = folder / "src/app.py"
    text = app.read_text().replace(
        "    return pa.table", '    logging.getLogger("mine").info("here")\n    return pa.table'
    )
    app.write_text(text.replace("import pyarrow", "import logging\n\nimport pyarrow", 1))
    pipeline = Pipeline(folder, tmp_path)
    pipeline.put("input", "a.jsonl", '{"text": "a"}\n{"text": "b"}\n')
    pipeline.run()
    assert re.search(r"INFO mine \[a\.jsonl, rows 1 to 2\]: here", pipeline.output)
