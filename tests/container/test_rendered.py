"""The rendered module in a real image: built by `cm build`, run by `cm serve --container`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundry_cm.checks import Finding, Module, checks, run_checks
from foundry_cm.image.build import Report, build
from foundry_cm.image.engines import Buildah
from foundry_cm.image.launch import launcher
from foundry_cm.image.lock import lock
from foundry_cm.load.result import Result as Measured
from foundry_cm.local.function.foundry import CallResult, LocalFoundry, Settings
from foundry_cm.module.project import Project
from foundry_cm.testing import _Log
from tests.conftest import Render
from tests.containers import buildah

pytestmark = [
    pytest.mark.container,
    pytest.mark.slow,
    pytest.mark.usefixtures("containers"),
]
CM = [sys.executable, "-m", "foundry_cm"]
EVENT = {"partition": "bolts", "query": "hex bolt", "limit": 3}


@pytest.fixture(scope="module", params=[False, True], ids=["one stage", "two stages"])
def module(request: pytest.FixtureRequest, render: Render) -> Path:
    folder = render(module_name="parts-search", python_version="3.13", multi_stage=request.param)
    for name in (".env", "private.pem", "sources.local.toml"):
        (folder / "src" / name).write_text("canary\n")
    if request.param:
        lock.write(Project.read(folder), base=False)
    # As a umask of 077 leaves them.
    for path in [folder / "src", *(folder / "src").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


@pytest.fixture(scope="module")
def built(module: Path, containers: None) -> Report:
    return build(module, f"localhost/cm-test-{module.name}-{os.getpid()}:1", Buildah())


def call_image(report: Report, event: object) -> tuple[CallResult, str]:
    async def run() -> CallResult:
        settings = Settings(
            command=["buildah"],
            folder=Path(),
            timeout_seconds=60,
            restart=False,
            launch=launcher(Buildah(), report.image),
        )
        async with LocalFoundry(settings, log) as foundry:
            return await foundry.call("search", event)

    log = _Log()
    return asyncio.run(run()), "\n".join(log.lines)


def test_image_keeps_every_rule_of_foundry(built: Report) -> None:
    assert [finding.what for finding in built.findings] == []
    assert built.image.user.isdecimal()


def test_image_answers_as_its_own_user_under_the_local_foundry(module: Path, built: Report) -> None:
    event = json.loads((module / "events/search.json").read_text())
    result, log = call_image(built, event)
    assert result.value[0].keys() == {"record_id", "label", "score"}
    assert "Serving search" in log


def test_image_is_checked_live_on_a_read_only_root(
    built: Report, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image as it is; then one whose user owns the code, and which writes beside it."""
    monkeypatch.setattr("foundry_cm.checks.carried.find", lambda: None)
    assert live(module, built.image.ref) == []
    app, ref = (module / "src/app.py").read_text(), f"{built.image.ref}-writes"
    line = "    Path('seen.txt').write_text('x')"
    before = app[: app.index("\n@function")].count("\n") + 2
    lines = app.splitlines()
    body = next(n for n in range(before, len(lines)) if lines[n].endswith(":"))
    app = "\n".join(["from pathlib import Path", *lines[: body + 1], line, *lines[body + 1 :], ""])
    (tmp_path / "app.py").write_text(app)
    name = buildah("from", "--pull-never", built.image.ref)
    buildah("copy", "--quiet", name, str(tmp_path / "app.py"), "/app/app.py")
    buildah("run", "--user", "0", name, "--", "chown", "-R", "5000", "/app")
    buildah("commit", "--quiet", "--rm", name, ref)
    found = live(module, ref)
    assert [finding.code for finding in found] == ["CM511"]
    assert "It says OSError: [Errno 30] Read-only file system: 'seen.txt'" in found[0].message


def live(module: Path, ref: str) -> list[Finding]:
    """What the live checks find in an image."""
    checked = Module.read(module, container=ref, engine="buildah")
    return [found for found in run_checks(checked, checks()) if found.code.startswith("CM5")]


def test_change_of_code_rebuilds_no_dependency(
    module: Path, built: Report, capfd: pytest.CaptureFixture[str]
) -> None:
    app = module / "src/app.py"
    app.write_text(app.read_text() + f"\n# {time.time()}\n")
    capfd.readouterr()
    changed = build(module, built.image.ref.replace(":1", ":2"), Buildah())
    steps = [step for step in capfd.readouterr().err.split("STEP ") if re.search(r"\bRUN\b", step)]
    assert len(steps) > 1
    assert [step for step in steps if "Using cache" not in step] == []
    assert changed.image.layers[:-1] == built.image.layers[:-1]
    assert changed.image.id != built.image.id


def test_no_compiler_cache_test_file_or_secret_is_in_the_image(built: Report) -> None:
    script = (
        "command -v gcc; ls -d /root/.cache/* /app/tests /app/events /app/app.py; "
        "grep -rl canary /app; true"
    )
    container = Buildah().container(
        built.image, f"cm-test-look-{os.getpid()}", command=("/bin/sh", "-c", script)
    )
    for command in container.before:
        command.run()
    try:
        assert container.run.output().split() == ["/app/app.py"]
    finally:
        for command in container.after:
            command.run()


@contextmanager
def serving(*argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*CM, "serve", *argv], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_cm_serve_container_answers_and_leaves_nothing_behind(module: Path, built: Report) -> None:
    folder = str(module)
    running = ("containers", "--format", "{{.ImageName}}")
    image = ["--container", built.image.ref, "--engine", "buildah", "--replicas", "2"]
    with serving(*image, "-C", folder) as server:
        assert server.stderr
        for line in server.stderr:
            if "cm call search" in line:
                break
        call = [*CM, "call", "search", "-C", folder]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)[0].keys() == {"record_id", "label", "score"}
        assert buildah(*running).splitlines().count(built.image.ref) == 2
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    assert built.image.ref not in buildah(*running)


def test_cm_verify_finds_the_answers_of_the_module_in_its_image(
    module: Path, built: Report
) -> None:
    image = ["--container", built.image.ref, "--engine", "buildah", "--format", "json"]
    command = [*CM, "verify", *image, "-C", str(module)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["same"], told["schema"]) == (True, [])
    assert [each["milliseconds"].keys() for each in told["events"]] == [{"module", "image"}]


def test_cm_bench_measures_the_module_in_an_image(
    module: Path, built: Report, tmp_path: Path
) -> None:
    image = ["--container", built.image.ref, "--engine", "buildah", "-C", str(module)]
    brief = ["--replicas", "1", "--concurrency", "2", "--runs", "1", "--seconds", "0.2"]
    file = tmp_path / "bench.json"
    done = subprocess.run(
        [*CM, "bench", *image, *brief, "--output", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = Measured.read(file)
    assert found.image == built.image.ref
    (setting,) = found.settings
    assert setting.closed.calls >= 20 and setting.closed.errors == 0
    # The module's own process is seen as well, which is none of cm's children.
    assert (setting.closed.memory or 0) > 30e6


def test_image_of_a_pipeline_keeps_every_rule_of_foundry(render: Render, containers: None) -> None:
    module = render(execution_mode="pipeline", python_version="3.13")
    ref = f"localhost/cm-test-pipeline-{os.getpid()}:1"
    report = build(module, ref, Buildah(), budget=Project.read(module).image_budget)
    assert [finding.what for finding in report.findings] == []


def test_image_that_is_not_there_is_a_usage_error(containers: None) -> None:
    image = ["--container", "localhost/cm-absent:1", "--engine", "buildah"]
    done = subprocess.run([*CM, "serve", *image], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        "error: buildah has no image localhost/cm-absent:1",
        "fix:   cm build makes it, and prints its name.",
    ]
