"""What a module's output tells of its end: the error, its place in the reader's own files, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.local import deaths
from foundry_cm.module import tracebacks
from foundry_cm.module.code import Program

HEAD = "Traceback (most recent call last):\n"
SDK = "/venv/lib/python3.11/site-packages/compute_modules/startup.py"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "app.py"
    file.write_text(
        "import logging\ntry:\n    import fast_tables\nexcept ImportError:\n"
        "    logging.exception('the slow ones are used')\nraise SystemExit('no licence')\n"
    )
    return file


def raised(file: Path, line: int, name: str = "<module>", error: str = "ValueError: x") -> str:
    return f'{HEAD}  File "{file}", line {line}, in {name}\n    code\n{error}\n'


@pytest.mark.parametrize(
    ("line", "name", "ends"),
    [(6, "<module>", True), (3, "<module>", False), (5, "<module>", True), (6, "load", False)],
    ids=["at the top", "in a try", "in its handler", "in a function that caught it"],
)
def test_traceback_counts_where_nothing_can_have_caught_it(
    app: Path, line: int, name: str, ends: bool
) -> None:
    assert tracebacks.read(raised(app, line, name)).ends is ends


def test_handled_error_is_not_what_ended_a_module(app: Path) -> None:
    handled = raised(app, 3, error="ModuleNotFoundError: No module named 'fast_tables'")
    lines = [*handled.splitlines(), "no licence"]
    error = deaths.death(1, lines, ["python", "app.py"], app.parent, declared=False)
    assert (
        error.what == "The module exited with code 1 before it declared its functions: no licence"
    )
    assert (error.where, error.fix) == (None, None)


def test_error_of_a_helper_program_is_not_the_modules(app: Path) -> None:
    lines = raised(app.with_name("helper.py"), 6).splitlines()
    assert deaths.ending(lines, ["python", "app.py"], app.parent) is None
    assert deaths.ending(raised(app, 6).splitlines(), ["python", "app.py"], app.parent)


def test_traceback_before_a_kill_is_not_its_reason(app: Path) -> None:
    error = deaths.death(
        -9, raised(app, 6).splitlines(), ["python", "app.py"], app.parent, declared=True
    )
    assert error.what == (
        "The module was killed by SIGKILL, as a system does where memory runs out: ValueError: x"
    )
    assert error.where is None


def test_a_mere_note_in_the_log_is_not_the_reason_of_an_end(app: Path) -> None:
    def end(last: str) -> str:
        return deaths.death(3, ["x", last], ["python", "app.py"], app.parent, declared=True).what

    ends = "The module exited with code 3"
    notes = ["2026-11-28 18:39:10,130 INFO app: hi", "[DEBUG] hi", '{"time": 1, "level": "INFO"}']
    assert [end(note) for note in notes] == [ends] * 3
    assert end("2026-11-28 18:39:10,130 ERROR app: no licence").startswith(f"{ends}: 2026-11")
    killed = deaths.death(-9, [], ["python", "app.py"], app.parent, declared=True)
    assert killed.what.endswith(
        "SIGKILL, as a system does where memory runs out, and printed nothing"
    )


def test_what_led_to_an_exception_stands_below_it(app: Path) -> None:
    direct = "\nThe above exception was the direct cause of the following exception:\n\n"
    meanwhile = "\nDuring handling of the above exception, another exception occurred:\n\n"
    first = raised(app, 3, "read", "KeyError: 'key'")
    text = first + meanwhile + raised(app, 5, "load", "OSError: x") + direct
    failure = tracebacks.read(text + raised(app, 6, "load", "RuntimeError: no key"))
    assert (failure.summary, failure.where) == ("RuntimeError: no key", "app.py:6")
    assert (failure.trimmed or "").splitlines() == [
        "  app.py:6  code",
        "caused by OSError: x",
        "  app.py:5  code",
        "while handling KeyError: 'key'",
        "  app.py:3  code",
    ]
    of_a_library = tracebacks.read(first + direct + raised(Path(SDK), 1, "run", "OSError: x"))
    assert of_a_library.where == "app.py:3"


def test_workers_that_lost_their_pool_are_no_reason(app: Path) -> None:
    lines = [
        "loading",
        "Process ForkPoolWorker-1:",
        HEAD.strip(),
        "BrokenPipeError: [Errno 32] Broken pipe",
    ]
    error = deaths.death(-9, lines, ["python", "app.py"], app.parent, declared=True)
    assert (
        error.what
        == "The module was killed by SIGKILL, as a system does where memory runs out: loading"
    )


def test_crash_names_the_line_of_the_thread_that_crashed(app: Path) -> None:
    dump = (
        "Fatal Python error: Segmentation fault\n\nThread 0x01 (most recent call first):\n"
        f'  File "{app}", line 1 in other\n\nCurrent thread 0x02 (most recent call first):\n'
        f'  File "{SDK}", line 9 in native\n  File "{app}", line 6 in handler\n'
    )
    error = deaths.death(-11, dump.splitlines(), ["python", "app.py"], app.parent, declared=True)
    assert (error.what, error.where) == ("The module was killed by SIGSEGV", "app.py:6")


@pytest.mark.parametrize(
    ("status", "command", "hint"),
    [(0, ["python3.12", "app.py"], True), (0, ["node", "app.js"], False), (1, ["python"], False)],
)
def test_missing_start_is_a_hint_only_where_python_ended_well(
    tmp_path: Path, status: int, command: list[str], hint: bool
) -> None:
    error = deaths.death(status, ["bye"], command, tmp_path, declared=False)
    assert bool(error.fix) is hint


def test_exit_hook_that_cannot_fork_gets_its_mend(app: Path) -> None:
    text = (
        "Exception ignored in atexit callback: <function start_compute_module at 0x7f>\n"
        f'{HEAD}  File "{SDK}", line 94, in start_compute_module\n'
        "RuntimeError: can't fork at interpreter shutdown\n"
    )
    error = deaths.death(0, text.splitlines(), ["python", "app.py"], app.parent, declared=True)
    assert error.what.endswith("code 0: RuntimeError: can't fork at interpreter shutdown")
    assert error.fix is not None
    assert error.fix.endswith(
        'end the file with: if __name__ == "__main__": start_compute_module()'
    )


def test_name_that_is_no_annotation_is_not_blamed_on_annotations(app: Path) -> None:
    app.write_text("from __future__ import annotations\nprinnt()\n")
    typo = raised(app, 2, error="NameError: name 'prinnt' is not defined").splitlines()
    failure = deaths.ending(typo, ["python", "app.py"], app.parent)
    assert failure is not None
    assert failure.fix is None


def test_group_of_exceptions_is_read() -> None:
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "app.py", line 9, in <module>\n  | ExceptionGroup: two (1 sub-exception)\n'
        f'  +-+---------------- 1 ----------------\n    | {HEAD}    |   File "app.py", line 3, in load\n'
        "    | ValueError: one of them\n    +------------------------------------\n"
    )
    failure = tracebacks.read(text)
    assert (failure.summary, failure.where) == ("ValueError: one of them", "app.py:3")


NODE = "\n\nNode.js v20.20.2"
FRAMES = "    at Module._load (node:internal/modules/cjs/loader:1091:12)"


@pytest.mark.parametrize(
    ("text", "summary", "where"),
    [
        (
            f"/m/a.js:6\nshelves.x();\n^\n\nReferenceError: shelves is not defined\n    at f (/m/a.js:2:1)\n{FRAMES}{NODE}",
            "ReferenceError: shelves is not defined",
            "/m/a.js:2",
        ),
        (
            f"/m/a.js:3\nlet = ;\n    ^\n\nSyntaxError: Unexpected token ';'\n{FRAMES}{NODE}",
            "SyntaxError: Unexpected token ';'",
            "/m/a.js:3",
        ),
        (
            "node:internal/modules/esm/resolve:873\n  throw new X();\n        ^\n\n"
            f"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x' imported from /m/a.mjs\n{FRAMES}{NODE}",
            "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x'",
            "/m/a.mjs",
        ),
        (
            "listening on 127.0.0.1:80\nnode:internal/process/promises:288\n    trigger(err);\n    ^\n\n"
            f"Error: connect ECONNREFUSED 127.0.0.1:80\n    at async run (file:///m/a%20b.mjs:4:9) {{\n  code: 1\n}}{NODE}",
            "Error: connect ECONNREFUSED 127.0.0.1:80",
            "/m/a b.mjs:4",
        ),
        (
            "node:internal/process/promises:288\n    trigger(err);\n    ^\n\n"
            f'[UnhandledPromiseRejection: the reason "x".] {{\n  code: 1\n}}{NODE}',
            '[UnhandledPromiseRejection: the reason "x".]',
            None,
        ),
        (
            f"/m/a.js:6\nthrow 'plain';\n^\nplain\n(Use `node --trace-uncaught ...` to show it){NODE}",
            "plain",
            "/m/a.js:6",
        ),
    ],
)  # fmt: skip
def test_error_that_ended_node_is_told_with_its_place(
    text: str, summary: str, where: str | None
) -> None:
    failure = tracebacks.of_end(text)
    assert failure is not None
    assert (failure.summary, failure.where) == (summary, where)


def test_node_that_is_only_mentioned_has_not_failed() -> None:
    assert tracebacks.of_end("Error: not now\n    at f (/m/a.js:1:1)\ncarrying on") is None


def dump(*threads: str) -> str:
    return "Fatal Python error: Aborted\n\n" + "\n".join(
        f"Thread 0x0{number} (most recent call first):\n{thread}"
        for number, thread in enumerate(threads)
    )


def test_handler_is_found_among_the_threads_of_a_dump() -> None:
    main = f'  File "{SDK}", line 94 in start\n  File "app.py", line 29 in <module>\n'
    handler = (
        '  File "/usr/lib/python3.11/threading.py", line 9 in wait\n  File "app.py", line 17 in inner\n'
        f'  File "app.py", line 21 in open_valve\n  File "{SDK}", line 50 in _handle_job\n'
    )
    frames = tracebacks.of_dump(dump(main, handler))
    assert frames is not None
    assert [frame.where for frame in frames] == ["app.py:21", "app.py:17"]
    assert tracebacks.of_dump(dump(main)) == []
    own_client = tracebacks.of_dump(dump('  File "client.py", line 8 in work\n'))
    assert own_client is not None
    assert [frame.where for frame in own_client] == ["client.py:8"]
    assert tracebacks.of_dump("") is None


CODE = """
from dataclasses import dataclass
import numpy
from compute_modules.annotations import function

class Shelf: ...

@dataclass
class Good: ...

@function
async def waits(context, event): ...

@function
def yields(context, event):
    return (x for x in event)

@function(streaming=True)
def streams(context, event):
    yield 1

@function
def plain(context, event):
    def inner():
        yield 1
    return [Good(), {"a": Shelf()}]
"""


def test_code_tells_what_a_handler_is(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from parts import handlers\n")
    (tmp_path / "other.py").write_text(CODE)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/handlers.py").write_text(CODE)
    program = Program(tmp_path, ["python", "app.py"])
    assert program.registered() == {"waits", "yields", "streams", "plain"}
    waits, yields, streams, plain = map(program.find, ("waits", "yields", "streams", "plain"))
    assert waits and yields and streams and plain
    assert (waits.is_async, waits.line, waits.file.name) == (True, 12, "handlers.py")
    assert (yields.is_generator, yields.is_streaming) == (True, False)
    assert (streams.is_generator, streams.is_streaming) == (True, True)
    assert (plain.is_generator, plain.plain_class, plain.imports("torch", "numpy")) == (
        False,
        "Shelf",
        "numpy",
    )
    assert Program(tmp_path, ["run"]).find("waits") is None
    assert not Program(tmp_path / "parts", ["python", "none.py"]).find("nothing")
