"""`cm check --live`: each fault that shows only in a running module, in modules written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.checks import run
from foundry_cm.checks.shown import ECHO, HEAD, TAIL, good
from foundry_cm.local import readonly
from tests.conftest import LINUX

pytestmark = [pytest.mark.slow, LINUX]

FAULTS = """
SEEN = []


@dataclass
class Half:
    value: int


@function
def wrong_type(context, event: Query) -> int:
    return event.text


@function
def raises(context, event: Query) -> str:
    return {}[event.text]


@function
def counts(context, event: Query) -> int:
    SEEN.append(event.text)
    time.sleep(0.05)
    return len(SEEN)


@function
def fragile(context, event: Half) -> int:
    return event.value
"""
BUDGET = "[tool.foundry-cm.check]\ncold-start-seconds = 0.001\np50-ms = 0.001\nstop-seconds = 0.5\n"
IGNORES = TAIL.replace("    start", "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    start")


# What is told where no root can be made read-only.
NOT_LOCKED = {"CM510": ["src/app.py:1"]} if readonly.why_not() else {}


def live(folder: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """What the live checks find: the places of each code."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    found: dict[str, list[str]] = {}
    for finding in run(folder, live=True):
        if finding.code.startswith("CM5"):
            found.setdefault(finding.code, []).append(finding.where)
    return found


def test_module_that_is_right_has_no_findings(tmp_path: Path) -> None:
    # A call of no time at all is over before it could be lost.
    found = live(tmp_path, dict(good()))
    assert {code: at for code, at in found.items() if code != "CM512"} == NOT_LOCKED


@pytest.mark.skipif(bool(NOT_LOCKED), reason="a read-only root takes root on Linux")
def test_module_that_writes_beside_its_code(tmp_path: Path) -> None:
    writes = """
@function
def keep(context, event: Query) -> str:
    with open('seen.txt', 'a') as seen:
        seen.write(event.text)
    return event.text


@function
def cache(context, event: Query) -> str:
    with tempfile.TemporaryFile() as file, (pathlib.Path.home() / ".cm-tested").open("w"):
        pathlib.Path.home().joinpath(".cm-tested").unlink()
        return file.name and event.text
"""
    files = good(writes, imports="import pathlib\nimport tempfile\n\n")
    lines = files["src/app.py"].splitlines()
    opens = lines.index("    with open('seen.txt', 'a') as seen:") + 1
    assert live(tmp_path, dict(files))["CM511"] == [f"src/app.py:{opens}"]


def test_where_no_root_can_be_made_read_only_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "why_not", lambda: "that needs root on Linux")
    for name, text in good().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    [found] = [found for found in run(tmp_path, live=True) if found.code == "CM510"]
    assert (found.code, found.message, found.fix) == (
        "CM510",
        "skipped: the module was not tried on a read-only root, since that needs root on Linux",
        "Try its image: cm check --live --container IMAGE",
    )


def test_faults_that_show_in_a_call_and_at_the_end(tmp_path: Path) -> None:
    files = good(FAULTS, head="import signal\nimport time\n" + HEAD, tail=IGNORES)
    found = live(tmp_path, {**files, "pyproject.toml": BUDGET})
    lines = files["src/app.py"].splitlines()
    at = {
        name: f"src/app.py:{n}"
        for n, text in enumerate(lines, 1)
        if text.startswith("def ")
        for name in [text[4:].partition("(")[0]]
    }
    assert found["CM502"] == [f"src/app.py:{lines.index('    return {}[event.text]') + 1}"]
    assert found["CM503"] == [at["wrong_type"]]
    assert found["CM505"] == [at["raises"]]
    assert set(found["CM506"]) == {"src/app.py:1", at["counts"], at["fragile"]}
    assert found["CM507"] == [at["counts"]]
    assert found["CM508"] == ["src/app.py:1"]


SLOW = ECHO.replace("    return", "    time.sleep(0.2)\n    return")
DRAINS = TAIL.replace(
    "    start",
    "    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(1, os._exit, [0]).start())\n    start",
)


@pytest.mark.parametrize(("tail", "lost"), [(TAIL, True), (DRAINS, False)])
def test_call_that_runs_when_the_module_is_stopped(tmp_path: Path, tail: str, lost: bool) -> None:
    head = "import os\nimport signal\nimport threading\nimport time\n" + HEAD
    files = good(SLOW, head=head, tail=tail)
    line = files["src/app.py"].splitlines().index("def echo(context, event: Query) -> str:") + 1
    assert live(tmp_path, dict(files)).get("CM512") == ([f"src/app.py:{line}"] if lost else None)


def test_function_that_is_not_posted(tmp_path: Path) -> None:
    late = (
        ECHO.replace("echo", "late").replace("@function\n", "")
        + "\n\nif len(__name__) > 50:\n    add_function(late)\n"
    )
    found = live(
        tmp_path,
        dict(good(f"{ECHO}\n\n{late}", imports="from compute_modules import add_function\n")),
    )
    assert found["CM501"] == ["src/app.py:21"]


def test_module_that_dies_of_a_wrong_event_and_does_not_come_back(tmp_path: Path) -> None:
    # Each start leaves something behind; the third stumbles over it.
    starts = (
        "\nwith open('starts', 'a+') as starts:\n    starts.write('x')\n    starts.seek(0)\n"
        "    if len(starts.read()) > 2:\n        raise SystemExit('a lock is left')\n\n\n"
    )
    dies = "@function\ndef echo(context, event) -> str:\n    return os._exit(3) if event else ''\n"
    imports = "import os\n\n"
    files = good(starts + dies, imports=imports, files={"events/echo.json": "{}"})
    found = live(tmp_path, dict(files))
    line = files["src/app.py"].splitlines().index("def echo(context, event) -> str:") + 1
    assert found["CM504"] == [f"src/app.py:{line}"]
    assert found["CM509"] == ["src/app.py:1"]


def test_module_that_does_not_start(tmp_path: Path) -> None:
    found = live(tmp_path, dict(good("raise OSError('no weights')\n")))
    assert found == {"CM500": ["src/app.py:15"]}


def test_pipeline_is_not_called(tmp_path: Path) -> None:
    files = {"src/app.py": "print('rows')\n", "src/resources.json": '{"inputs": {}, "outputs": {}}'}
    assert live(tmp_path, files) == {"CM510": ["src/resources.json:1"]}


def test_module_that_its_exit_hook_starts_again(tmp_path: Path) -> None:
    untyped = "@function\ndef add(context, event):\n    return event['x'] + event['y']\n"
    files = good(
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\n\n{untyped}",
        imports="import signal\nimport sys\n",
        head=HEAD.replace("atexit.unregister(start_compute_module)\n", ""),
    )
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text(files["src/app.py"])
    (tmp_path / "pyproject.toml").write_text("[tool.foundry-cm.check]\nstop-seconds = 2\n")
    found = {each.code: each for each in run(tmp_path, live=True)}
    assert found["CM508"].fix == (
        "The SDK's exit hook starts it again. "
        "Write atexit.unregister(start_compute_module) below the imports."
    )
    assert found["CM508"].where == found["CM244"].where
    # No event can be made for a function without types, so it is not to blame that it fails.
    assert "CM502" not in found
    assert found["CM510"].fix == "Write an event for it: events/add.json"
