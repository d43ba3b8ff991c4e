"""`cm run` as a person types it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import UNIX

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(module: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the rendered module, to run in."""
    return Path(shutil.copytree(module(), tmp_path / "module"))


def cm_run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `cm run` in a folder."""
    command = [sys.executable, "-m", "foundry_cm", "run", *args]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=60)


def test_it_runs_until_idle_and_says_what_moved_where(folder: Path) -> None:
    done = cm_run(folder)
    assert done.returncode == 0, done.stderr
    assert "3 rows in, 3 rows out, 0 errors" in done.stderr
    assert "outputs/output/" in done.stderr
    assert "next: cm run" in done.stderr
    (folder / "data/input/sample.jsonl").unlink()
    again = cm_run(folder, "--fault", "kill@mid-upload")
    assert again.returncode == 0
    assert "There was nothing new in data/, so nothing was written." in again.stderr
    assert "There is no file in data/input/." in again.stderr
    assert "fault kill@mid-upload never struck: no call came to that point" in again.stderr
    assert "next: cm run --fresh" in again.stderr


def test_fresh_processes_everything_again_and_removes_only_what_it_wrote(
    folder: Path,
) -> None:
    assert cm_run(folder).returncode == 0
    [written] = (folder / "outputs/output").glob("*.csv")
    mine = written.with_name("mine.csv")
    mine.write_text("my own")
    (folder / "data/input/sample.jsonl").write_text('{"id": 1, "text": "other"}\n')
    done = cm_run(folder, "--fresh")
    assert done.returncode == 0
    assert "1 rows in, 1 rows out, 0 errors" in done.stderr
    assert mine.read_text() == "my own"
    assert not written.exists()


def test_json_is_all_of_standard_output(folder: Path) -> None:
    done = cm_run(
        folder, "--format", "json", "--fault", "kill@before-commit", "--fault", "503@list"
    )
    told = json.loads(done.stdout)
    assert (told["rowsIn"], told["rowsOut"], told["errors"]) == (3, 3, 0)
    assert sorted(told["faults"]) == ["503@before-list", "kill@before-commit"]
    assert told["resources"] == {"input": 3, "output": 3, "output-errors": 0}


def test_refused_records_are_pointed_at(folder: Path) -> None:
    (folder / "data/input/bad.csv").write_text("id,text\nx,y\n")
    done = cm_run(folder)
    assert done.returncode == 0
    assert "next: cat outputs/output-errors/*.jsonl" in done.stderr


def test_a_module_that_dies_is_a_failure(folder: Path) -> None:
    (folder / "data/input/bad.csv").write_text("nothing\n1\n")
    done = cm_run(folder)
    assert done.returncode == 1
    assert 'bad.csv has no column "id" (int); it has nothing' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistyped_fault_and_a_folder_without_pipeline_are_usage_errors(
    folder: Path, tmp_path: Path
) -> None:
    done = cm_run(folder, "--fault", "kil")
    assert (done.returncode, 'Did you mean "kill"?' in done.stderr) == (2, True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text("")
    done = cm_run(tmp_path)
    assert done.returncode == 2
    assert "this is not a pipeline module" in done.stderr


def test_follow_takes_in_what_is_added_and_starts_changed_code_until_it_is_stopped(
    folder: Path,
) -> None:
    command = [sys.executable, "-m", "foundry_cm", "run", "--follow", "--build"]
    app, checkpoints = folder / "src/app.py", folder / "outputs/output/.cm"
    good, log = app.read_text(), folder.with_name("log")
    with log.open("w") as shown:
        process = subprocess.Popen(command, cwd=folder, stderr=shown)
    try:
        wait(lambda: len(list(checkpoints.rglob("*.csv"))) == 1)
        app.write_text("raise ValueError('mended soon')\n" + good)
        wait(lambda: "cm restarts it when its code changes." in log.read_text())
        app.write_text(good.replace(".upper()", ".lower()"))
        (folder / "data/input/later.csv").write_text("id,text\n9,LATER\n")
        wait(lambda: len(list(checkpoints.rglob("*.csv"))) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    err = log.read_text()
    assert "error: The module exited with code 1: ValueError: mended soon" in err
    assert "src/app.py changed: restarting the module" in err
    assert "4 rows in, 4 rows out, 0 errors" in err
    assert any("later" in path.read_text() for path in checkpoints.rglob("*.csv"))


@UNIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_while_the_module_starts_leaves_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    app, started = folder / "src/app.py", folder / "started"
    starting = (
        f"import os, pathlib, time\npathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n"
    )
    app.write_text(starting + "time.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry_cm", "run"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    try:
        wait(lambda: started.exists() and bool(started.read_text()))
        process.send_signal(signal.Signals[name])
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert not psutil.pid_exists(int(started.read_text()))
    assert list(scratch.iterdir()) == []


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("outputs/output", "cm writes nothing through it"),
        ("outputs/.cm", "cm writes nothing through it"),
        ("outputs", "cm writes nothing through it"),
        ("data/input/linked.csv", "it leads out of the module, so cm does not read it"),
    ],
)
def test_a_committed_link_out_of_the_module_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str, why: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept.csv").write_text("text\nmine\n")
    link = folder / name
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside / "kept.csv" if link.suffix else outside)
    done = cm_run(folder)
    assert done.returncode == 2
    assert f"{name} is a link: {why}" in done.stderr
    assert [path.name for path in outside.iterdir()] == ["kept.csv"]


def test_a_file_of_a_person_in_outputs_stays(folder: Path) -> None:
    for name in ("outputs/notes.txt", "outputs/output/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    for _ in range(2):
        assert cm_run(folder).returncode == 0
    assert (folder / "outputs/notes.txt").read_text() == "mine"
    assert (folder / "outputs/output/notes.txt").read_text() == "mine"
