"""The verbs, their messages and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.cli.schema import changes, read_committed
from foundry_cm.errors import CmError
from tests.cli.conftest import cm, serving

SEARCH = '{"partition": "pumps", "query": "gear", "limit": 1}'


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_call_from_nothing_prints_the_result_alone_on_standard_output(module: Path) -> None:
    done = cm(module, "call", "search", "--json", SEARCH)
    assert (done.returncode, json.loads(done.stdout)[0]["record_id"]) == (0, "PU-1006")
    assert "next: cm serve" in done.stderr


def test_call_takes_the_sample_event_a_file_or_standard_input(module: Path) -> None:
    sample = cm(module, "call", "search")
    file = cm(module, "call", "search", "--event", "events/search.json")
    piped = cm(
        module, "call", "search", "--event", "-", input=(module / "events/search.json").read_text()
    )
    assert sample.stdout == file.stdout == piped.stdout != ""


MISTAKES = [
    (["call", "serch"], 2, 'error: The module has no function "serch"\nfix:   Did you mean "search"?'),
    (["call", "serch", "--json", "{}"], 2, 'error: The module has no function "serch"\nfix:   Did you mean "search"?'),
    (["call", "search", "--json", "{"], 2, "error: The event is not JSON: Expecting property name"),
    (["call", "search", "--json", '{"limit": NaN}'], 2, "error: The event is not JSON: NaN is not a JSON value"),
    (["call", "search", "--json", "{}", "--event", "x"], 2, "error: Both --event and --json were given"),
    (["call", "search", "--event", "nope.json"], 2, "where: nope.json"),
    (["call", "search", "--json", '{"partition": 1, "query": "", "limit": 1}'], 2, "error: search refused the event: event.partition is 1, not text\nwhere: --json"),
    (["call", "search", "--json", '{"partition": "x", "query": "", "limit": 1}'], 1, 'error: There is no partition "x".'),
    (["event", "serch"], 2, 'fix:   Did you mean "search"?'),
    (["schema", "--diff"], 2, "fix:   Write it and commit it: cm schema --write"),
    (["schema", "--breaking"], 2, "fix:   cm schema --write --breaking"),
    (["schema", "--diff", "--write"], 2, "error: Both --diff and --write were given"),
    (["serve", "-C", "nowhere"], 2, "error: There is no folder"),
    (["serve", "-C", "events"], 2, "fix:   Give the command that runs it after --"),
    (["call", "search", "--", "no-such-program"], 1, "error: The module cannot be started: no-such-program"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "message"), MISTAKES, ids=[" ".join(a) for a, _, _ in MISTAKES]
)
def test_mistake_ends_in_a_few_plain_lines(
    search_module: Path, args: list[str], code: int, message: str
) -> None:
    done = cm(search_module, *args)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_says_each_default(tmp_path: Path) -> None:
    done = cm(tmp_path, "serve", "--help", env={**os.environ, "COLUMNS": "200"})
    shown = " ".join(done.stdout.replace("│", "").split())
    assert "Port of the runtime. Default: 8945, or a free one." in shown
    assert "Default: command in pyproject.toml, or python src/app.py." in shown


def test_help_fills_the_width_of_the_terminal(tmp_path: Path) -> None:
    done = cm(tmp_path, "serve", "--help", env={**os.environ, "COLUMNS": "80"})
    assert "Nothing listens beyond this machine." in done.stdout


def test_failing_handler_shows_its_own_lines_and_ends_with_1(blank: Path) -> None:
    app = blank / "src/app.py"
    app.write_text(app.read_text().replace("length=0", "length=1 // 0"))
    done = cm(blank, "call", "process")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "error: process failed on job" in done.stderr


def configure(module: Path, lines: str) -> None:
    """Add lines to the settings that cm reads."""
    file = module / "pyproject.toml"
    table = "[tool.foundry-cm]\n"
    file.write_text(file.read_text().replace(table, f"{table}{lines}\n"))


def test_setting_that_does_not_exist_is_named(blank: Path) -> None:
    configure(blank, "max-megabyte = 3")
    done = cm(blank, "schema")
    assert done.returncode == 2
    assert 'error: There is no key "max-megabyte"' in done.stderr
    assert 'Did you mean "max-megabytes"?' in done.stderr


def test_settings_are_taken_from_pyproject(blank: Path) -> None:
    configure(blank, f'command = ["{sys.executable}", "src/app.py"]\nmax-megabytes = 0.00001')
    done = cm(blank, "call", "process")
    assert done.returncode == 2
    assert "The event has 0.0 MB, over the limit of 1e-05 MB for one call" in done.stderr


@pytest.mark.parametrize("flags", [[], ["--edge"]])
def test_event_made_from_the_schema_is_accepted(blank: Path, flags: list[str]) -> None:
    event = cm(blank, "event", "process", *flags)
    assert event.returncode == 0
    assert cm(blank, "call", "process", "--event", "-", input=event.stdout).returncode == 0


def test_schema_is_what_the_sdks_static_inference_gives(search_module: Path) -> None:
    import subprocess

    inferred = subprocess.run(
        [sys.executable, "-m", "compute_modules.bin.static_inference.infer", "src"],
        cwd=search_module,
        text=True,
        capture_output=True,
    )
    assert json.loads(inferred.stdout) == json.loads(cm(search_module, "schema").stdout)
    assert "read_catalogue took" not in inferred.stderr


def test_schema_diff_tells_what_breaks_callers(blank: Path) -> None:
    assert cm(blank, "schema", "--write").returncode == 0
    assert cm(blank, "schema", "--diff").returncode == 0
    app = blank / "src/app.py"
    app.write_text(app.read_text().replace("    text: str\n", "    text: str\n    limit: int\n", 1))
    done = cm(blank, "schema", "--diff")
    assert done.returncode == 1
    assert "breaks callers  process: event.limit is new (integer, required)" in done.stderr
    before = (blank / "schema.json").read_text()
    done = cm(blank, "schema", "--write")
    assert done.returncode == 1
    assert "error: 1 change breaks callers, so schema.json stays as it is" in done.stderr
    assert (blank / "schema.json").read_text() == before
    assert cm(blank, "schema", "--write", "--breaking").returncode == 0
    assert cm(blank, "schema", "--diff").returncode == 0


STRING, INTEGER = {"type": "string", "string": {}}, {"type": "integer", "integer": {}}


def declared(name: str, output: dict[str, Any], **inputs: dict[str, Any]) -> dict[str, Any]:
    items = [{"name": n, "required": not n.endswith("_"), "dataType": t} for n, t in inputs.items()]
    return {"functionName": name, "inputs": items, "output": {"single": {"dataType": output}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "schema.json is not JSON: Expecting property name"),
        ("[" * 100_000, "schema.json is not JSON: "),
        ("5", "schema.json is not what cm schema --write writes"),
        ('[{"functionName": 1}]', "schema.json is not what cm schema --write writes"),
        ("[[]]", "schema.json is not what cm schema --write writes"),
    ],
)
def test_schema_that_somebody_else_wrote_is_a_plain_error(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    with pytest.raises(CmError) as refused:
        read_committed(file)
    assert refused.value.what.startswith(reason)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (declared("f", STRING), declared("g", STRING), [(True, "f: the function is gone"), (False, "g: a new function")]),
        (declared("f", STRING), declared("f", INTEGER), [(True, "f: result was string and is integer")]),
        (declared("f", STRING, a=STRING), declared("f", STRING), [(True, "f: event.a is gone")]),
        (declared("f", STRING), declared("f", STRING, a_=STRING), [(False, "f: event.a_ is new (string)")]),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_told(
    before: dict[str, Any], after: dict[str, Any], change: list[tuple[bool, str]]
) -> None:
    assert list(changes([before], [after])) == change


def test_running_server_answers_calls_and_is_forgotten_when_it_ends(module: Path) -> None:
    with serving(module) as server:
        done = cm(module, "call", "search")
        assert done.returncode == 0
        assert "started" not in done.stderr
        assert "call search answered in" in server.output
        assert server.stop() < 3
    # The calls are kept for the panel; the note of the server is gone.
    assert {path.name for path in (module / ".cm").iterdir()} == {".gitignore", "history.jsonl"}
    assert "next: cm serve" in cm(module, "call", "search").stderr


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "The event is not JSON: it is nested too deeply"),
        (
            '{"text": "a", "tags": ["\\ud83d"]}',
            "event.tags[0] holds half of a surrogate pair, which is not text",
        ),
    ],
    ids=["deep", "half a surrogate pair"],
)
def test_event_that_is_no_text_or_too_deep_is_a_plain_error(
    module: Path, event: str, reason: str
) -> None:
    (module / "event.json").write_text(event)
    done = cm(module, "call", "search", "--event", "event.json")
    assert done.returncode == 2
    assert f"error: {reason}" in done.stderr
    assert "Traceback" not in done.stderr


def test_result_with_half_a_surrogate_pair_is_printed(blank: Path) -> None:
    app = blank / "src/app.py"
    app.write_text(app.read_text().replace("text=event.text", 'text="\\ud83d"'))
    done = cm(blank, "call", "process")
    assert json.loads(done.stdout)["text"] == "\ud83d"


def test_folder_that_is_made_again_stays_watched(module: Path) -> None:
    with serving(module) as server:
        (module / "src").rename(module / "old")
        shutil.copytree(module / "old", module / "src")
        time.sleep(2)
        app = module / "src/app.py"
        app.write_text("print('the second version')\n" + app.read_text())
        server.wait_for("the second version")


@pytest.mark.parametrize("pid", [999999999, os.getpid()], ids=["gone", "of another process"])
def test_note_of_a_server_that_was_killed_is_ignored(module: Path, pid: int) -> None:
    (module / ".cm").mkdir()
    note = {"panel": "http://127.0.0.1:1", "pid": pid, "started": 1.0}
    (module / ".cm/serve.json").write_text(json.dumps(note))
    assert cm(module, "call", "search").returncode == 0


def test_second_server_says_that_there_is_one_and_leaves_its_note(module: Path) -> None:
    with serving(module) as first:
        with serving(module) as second:
            second.wait_for("Another cm serve already runs in this folder, at http://127.0.0.1:")
        assert "started" not in cm(module, "call", "search").stderr
        assert "call search answered in" in first.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_within_three_seconds_and_leaves_nothing(
    module: Path, number: int, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    os.environ["TMPDIR"] = str(tmp_path / "tmp")
    try:
        with serving(module, "--replicas", "2") as server:
            assert server.stop(number) < 3
    finally:
        del os.environ["TMPDIR"]
    assert server.process.returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def test_reload_follows_a_change_and_survives_a_syntax_error(module: Path) -> None:
    app = module / "src/app.py"
    text = app.read_text()
    with serving(module) as server:
        app.write_text("def broken(:\n" + text)
        server.wait_for("The version before this change goes on answering.")
        assert "src/app.py:1" in server.output
        assert cm(module, "call", "search").returncode == 0
        app.write_text(text.replace("score=score / 100", "score=-1.0"))
        server.wait_for("src/app.py changed: restarting the module")
        server.wait_for("Serving search", times=2)
        assert json.loads(cm(module, "call", "search").stdout)[0]["score"] == -1.0


def test_module_that_dies_is_explained_and_waits_for_the_mend(module: Path) -> None:
    app = module / "src/app.py"
    text = app.read_text()
    with serving(module) as server:
        app.write_text(text.replace("CATALOGUE = load", "1 / 0\nCATALOGUE = load"))
        server.wait_for("ZeroDivisionError: division by zero")
        server.wait_for("starts again in 1 s, or at the next change of its files.")
        done = cm(module, "call", "search")
        assert done.returncode == 1
        assert "exited with code 1 before it declared its functions" in done.stderr
        app.write_text(text)
        server.wait_for("Serving search", times=2)
        assert cm(module, "call", "search").returncode == 0


class TestPanel:
    """The JSON API that the panel and other programs use."""

    def test_functions_come_with_schema_and_sample(self, module: Path) -> None:
        with serving(module) as server:
            answer = json.load(urllib.request.urlopen(f"{server.panel}/api/functions"))
        (function,) = answer["functions"]
        assert function["name"] == "search"
        assert function["eventSchema"]["required"] == ["partition", "query", "limit"]
        assert function["sampleEvent"] == {
            "partition": "some text",
            "query": "some text",
            "limit": 1,
        }

    def test_invoke_answers_and_refuses_in_json(self, module: Path) -> None:
        with serving(module, "--max-megabytes", "0.001") as server:
            url = f"{server.panel}/api/functions/search/invoke"
            status, answer = post(url, SEARCH.encode())
            assert (status, answer["result"][0]["record_id"], answer["replica"]) == (
                200,
                "PU-1006",
                0,
            )
            assert answer["milliseconds"] > 0
            for path, body, status, code in [
                ("search", b"{", 400, "NotJson"),
                ("search", b"{}", 400, "InvalidEvent"),
                ("serch", b"{}", 404, "UnknownFunction"),
                ("search", b" " * 2000, 413, "EventTooLarge"),
                ("search", b'{"partition": "x", "query": "", "limit": 1}', 502, "HandlerFailed"),
            ]:
                got, answer = post(f"{server.panel}/api/functions/{path}/invoke", body)
                assert (got, answer["error"]["code"]) == (status, code)

    @pytest.mark.parametrize(
        "headers", [{"Host": "evil.example.com"}, {"Origin": "https://evil.example.com"}]
    )
    def test_page_from_elsewhere_is_refused(self, module: Path, headers: dict[str, str]) -> None:
        with serving(module) as server:
            status, answer = post(
                f"{server.panel}/api/functions/search/invoke", SEARCH.encode(), **headers
            )
        assert (status, answer["error"]["message"]) == (
            403,
            "The query panel answers this machine only.",
        )

    def test_status_tells_replicas_and_load(self, module: Path) -> None:
        with serving(module, "--replicas", "2", "--concurrency", "3") as server:
            cm(module, "call", "search")
            answer = json.load(urllib.request.urlopen(f"{server.panel}/api/status"))
        assert {replica["state"] for replica in answer["replicas"]} <= {"responsive", "starting"}
        assert (len(answer["replicas"]), answer["concurrency"], answer["queued"]) == (2, 3, 0)
