"""Weights arrive whole and verified, or the reason is said in one line."""

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import stamina

from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.weights import download as engine
from foundry_cm.weights.download import HttpsOrigin, download
from foundry_cm.weights.lock import Lock, WeightFile, WeightsError, read_lock, verify
from foundry_cm.weights.pull import pull
from foundry_cm.weights.request import Pulled, check
from tests.models.conftest import REPO, Module
from tests.models.hub import COMMIT, Hub, corrupted, status, truncated

SAFETENSORS = "model.safetensors"


@contextmanager
def silent(_total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _count: None


def pull_into(module: Module, **options: Any) -> Pulled:
    return pull(Project.read(module.folder), silent, **options)


def lock_of(hub: Hub, *paths: str) -> Lock:
    contents = {path: (hub.repos[REPO] / path).read_bytes() for path in paths or (SAFETENSORS,)}
    files = (
        WeightFile(path, len(content), hashlib.sha256(content).hexdigest())
        for path, content in contents.items()
    )
    url = f"{hub.url}/{REPO}/resolve/{COMMIT}/"
    return Lock({"kind": "huggingface", "url": url}, tuple(files))


def fetch(lock: Lock, cache: Path) -> Path:
    return download(lock, lambda: HttpsOrigin(lock.origin["url"], requests.Session()), cache)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retries follow at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


# The hub of these tests is one for the client that everybody uses.


def test_the_hub_answers_the_real_client(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(REPO, revision="main", cache_dir=tmp_path, endpoint=hub.url)
    for path in ("config.json", SAFETENSORS, "onnx/model.safetensors"):
        assert (Path(folder) / path).read_bytes() == (hub.repos[REPO] / path).read_bytes()


# cm weights pull


def test_pull_fills_models_and_locks_the_commit(hub: Hub, module: Module) -> None:
    module.ask(strategy="baked", origin="huggingface", repo=REPO, revision="main")
    pulled = pull_into(module)
    lock = module.lock()
    assert pulled.relocked
    assert module.files() == {"config.json", SAFETENSORS}
    assert lock["origin"]["revision"] == COMMIT
    assert lock["origin"]["url"] == f"{hub.url}/{REPO}/resolve/{COMMIT}/"
    content = (hub.repos[REPO] / SAFETENSORS).read_bytes()
    assert lock["files"][1] == {
        "path": SAFETENSORS,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    check(Project.read(module.folder))


def test_pull_takes_what_the_lock_says_and_asks_no_hub_when_it_is_there(
    hub: Hub, module: Module
) -> None:
    pull_into(module)
    hub.requests.clear()
    assert not pull_into(module).relocked
    assert hub.requests == []


def test_pull_mends_only_the_file_that_is_broken(hub: Hub, module: Module) -> None:
    pull_into(module)
    (module.folder / "models" / "config.json").write_text("{}")
    hub.requests.clear()
    pull_into(module)
    assert {path.rsplit("/", 1)[1] for _, path, _ in hub.requests} == {"config.json"}
    check(Project.read(module.folder))


def test_pull_locks_anew_when_pyproject_asks_for_something_else(hub: Hub, module: Module) -> None:
    pull_into(module)
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    with pytest.raises(CmError, match="written for other weights"):
        check(Project.read(module.folder))
    assert pull_into(module).relocked
    assert module.files() == {"config.json"}


def test_pull_with_update_follows_the_origin(hub: Hub, module: Module) -> None:
    folder = shutil.copytree(hub.repos[REPO], module.folder / "moving")
    hub.repos["moving"] = folder
    module.ask(origin="huggingface", repo="moving", revision="main")
    pull_into(module)
    (folder / "config.json").write_text('{"hidden_size": 4}\n')
    assert not pull_into(module).relocked
    assert pull_into(module, update=True).relocked
    assert (module.folder / "models/config.json").read_text() == '{"hidden_size": 4}\n'


def test_pull_from_https_takes_named_files(hub: Hub, module: Module) -> None:
    module.ask(origin="https", url=f"{hub.url}/plain/small", files=[SAFETENSORS])
    pull_into(module)
    assert module.lock()["origin"] == {"kind": "https", "url": f"{hub.url}/plain/small/"}
    assert module.files() == {SAFETENSORS}


def test_pull_for_a_downloaded_strategy_fills_the_cache_that_the_module_uses(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS_CACHE", str(module.folder / "cache"))
    module.ask(strategy="downloaded", origin="huggingface", repo=REPO, revision=COMMIT)
    pulled = pull_into(module)
    assert pulled.folder == module.folder / "cache" / pulled.lock.name
    hub.requests.clear()
    assert fetch(pulled.lock, module.folder / "cache") == pulled.folder
    assert hub.requests == []


def test_a_failed_pull_changes_nothing(hub: Hub, module: Module) -> None:
    pull_into(module)
    before = module.lock()
    module.ask(origin="huggingface", repo=REPO, revision="main")
    hub.fail("config.json", status(404))
    with pytest.raises(CmError, match="answered 404"):
        pull_into(module)
    assert module.lock() == before
    assert module.files() == {"config.json", SAFETENSORS}


def test_a_pickle_is_taken_only_by_name(hub: Hub, module: Module) -> None:
    (hub.repos[REPO].parent / "pickled").mkdir(exist_ok=True)
    hub.repos["acme/pickled"] = hub.repos[REPO].parent / "pickled"
    (hub.repos["acme/pickled"] / "best.pt").write_bytes(b"a pickle")
    module.ask(origin="huggingface", repo="acme/pickled", revision="main")
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == (
        "acme/pickled has no safetensors, only pickles, which run code as they load: best.pt"
    )
    module.ask(origin="huggingface", repo="acme/pickled", revision="main", files=["best.pt"])
    assert pull_into(module).pickles == ["best.pt"]


@pytest.mark.parametrize(
    ("table", "what", "fix"),
    [
        (
            {"origin": "hugingface"},
            'There is no origin "hugingface"',
            'Did you mean "huggingface"?',
        ),
        (
            {"origin": "huggingface", "repo": "acme/smal", "revision": "main"},
            "the hub answered 404 for acme/smal",
            "Correct `repo` in pyproject.toml, or, where it is private or gated, "
            "give the token of a reader in HF_TOKEN.",
        ),
        (
            {"origin": "huggingface", "repo": REPO, "revision": "v2"},
            "acme/small has no revision v2",
            "Correct `revision` in pyproject.toml.",
        ),
        (
            {"origin": "huggingface", "repo": REPO, "revision": "main", "files": ["confg.json"]},
            'acme/small has no file "confg.json"',
            'Did you mean "config.json"?',
        ),
        (
            {"origin": "huggingface", "repo": REPO},
            "The weights need `revision`",
            'Write there, for example: revision = "main"',
        ),
        (
            {"origin": "https", "url": "https://example.org/", "files": ["*.bin"]},
            "An https origin cannot be listed, so `files` has to name each file",
            'Write, for example: files = ["best.safetensors"]',
        ),
        (
            {"origin": "https", "url": "http://example.org/", "files": ["a.bin"]},
            "http://example.org/ is not an https address",
            "Weights travel over https only.",
        ),
        (
            {"strategy": "bakd", "origin": "https"},
            'There is no strategy "bakd"',
            'Did you mean "baked"?',
        ),
    ],
)
def test_a_request_that_cannot_be_met_says_what_to_change(
    hub: Hub, module: Module, table: dict[str, Any], what: str, fix: str
) -> None:
    module.ask(**table)
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert (refused.value.what, refused.value.fix) == (what, fix)
    assert not (module.folder / "weights.lock").exists()


# cm weights verify


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda models: (models / "config.json").unlink(), "models/config.json is missing"),
        (
            lambda models: (models / "config.json").write_text("{}"),
            "models/config.json has 2 bytes where weights.lock says 19",
        ),
        (
            lambda models: (models / "config.json").write_text('{"hidden_size": 4}\n'),
            "models/config.json has SHA-256 ",
        ),
        (
            lambda models: (models / "pytorch_model.bin").write_bytes(b"a pickle"),
            "models/pytorch_model.bin is not in weights.lock",
        ),
        (shutil.rmtree, "models is missing"),
    ],
)
def test_verify_names_the_file_that_differs(
    hub: Hub, module: Module, damage: Callable[[Path], Any], what: str
) -> None:
    pull_into(module)
    damage(module.folder / "models")
    with pytest.raises(CmError) as refused:
        check(Project.read(module.folder))
    assert what in refused.value.what


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "./a"])
def test_a_lock_cannot_name_a_file_outside_the_folder(tmp_path: Path, path: str) -> None:
    lock = tmp_path / "weights.lock"
    files = [{"path": path, "size": 1, "sha256": "0" * 64}]
    lock.write_text(json.dumps({"version": 1, "origin": {}, "files": files}))
    with pytest.raises(WeightsError, match="does not stay inside the folder"):
        read_lock(lock)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "weights.lock is missing; write it with `cm weights pull`"),
        ("{", "weights.lock cannot be read (Expecting"),
        ('{"version": 2}', "weights.lock cannot be read (version 2 is not 1)"),
        ('{"version": 1, "origin": {}, "files": []}', "(it lists no files); write it anew"),
        ("[]", "weights.lock cannot be read ("),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "weights.lock").write_text(text)
    with pytest.raises(WeightsError) as refused:
        read_lock(tmp_path / "weights.lock")
    assert message in str(refused.value)


# What a replica does before it serves.


def test_a_good_copy_is_used_without_network(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    folder = fetch(lock, tmp_path)
    hub.requests.clear()
    assert fetch(lock, tmp_path) == folder
    assert hub.requests == []


def test_a_cached_copy_that_was_changed_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    folder = fetch(lock, tmp_path)
    (folder / SAFETENSORS).write_bytes(b"x" * lock.size)
    fetch(lock, tmp_path)
    verify(folder, lock)


def test_a_truncated_body_is_resumed_where_it_broke_off(hub: Hub, tmp_path: Path) -> None:
    hub.fail(SAFETENSORS, truncated(655_360))
    verify(fetch(lock_of(hub), tmp_path), lock_of(hub))
    ranges = [asked for _, path, asked in hub.requests if path.startswith("/storage")]
    assert ranges == [None, "bytes=655360-"]


def test_a_killed_download_is_resumed_by_the_next_start(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    hub.fail(SAFETENSORS, *3 * [truncated(720_896)])
    with pytest.raises(WeightsError, match="8 times in a row"):
        fetch(lock, tmp_path)
    hub.faults.clear()
    hub.requests.clear()
    verify(fetch(lock, tmp_path), lock)
    assert hub.requests[-1][2] == "bytes=720896-"


def test_a_leftover_of_another_file_does_not_spoil_the_download(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    part = tmp_path / f"{lock.name}.partial" / f"{SAFETENSORS}.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 500_000)
    verify(fetch(lock, tmp_path), lock)


@pytest.mark.parametrize("size", [3_000_000, 4_000_000])
def test_a_leftover_that_is_too_long_does_not_spoil_the_download(
    hub: Hub, tmp_path: Path, size: int
) -> None:
    lock = lock_of(hub)
    part = tmp_path / f"{lock.name}.partial" / f"{SAFETENSORS}.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * size)
    verify(fetch(lock, tmp_path), lock)


def test_an_origin_that_cannot_resume_starts_over(hub: Hub, tmp_path: Path) -> None:
    whole = (hub.repos[REPO] / SAFETENSORS).read_bytes()

    def ignore_the_range(handler: Any, content: bytes) -> bool:
        handler.reply(200, content, {})
        return True

    hub.fail(SAFETENSORS, truncated(900_000), ignore_the_range)
    assert (fetch(lock_of(hub), tmp_path) / SAFETENSORS).read_bytes() == whole


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_failure_that_may_pass_is_tried_again(hub: Hub, tmp_path: Path, code: int) -> None:
    hub.fail(SAFETENSORS, status(code), status(code))
    verify(fetch(lock_of(hub), tmp_path), lock_of(hub))


def test_a_server_that_asks_to_wait_is_given_the_time(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = engine.TransientError("busy", 7.0)
    waits: list[Any] = []

    class Caller:
        def __init__(self, **_options: Any) -> None:
            pass

        def __call__(self, backoff: Callable[[Exception], Any], _action: Any) -> None:
            waits.append(backoff(error))

    monkeypatch.setattr(stamina, "RetryingCaller", Caller)
    engine.with_retries(lambda: None)
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            corrupted,
            "model.safetensors from {url} has SHA-256 {wrong} where weights.lock says {right}; "
            "if the change is meant, run `cm weights pull --update`",
        ),
        (
            truncated(1_000),
            "the connection to localhost failed (IncompleteRead(1000 bytes read, 2999000 more "
            "expected)), 8 times in a row; "
            "inside Foundry, import a Source whose network policy allows that host",
        ),
        (
            status(404),
            "{url}model.safetensors answered 404; "
            "correct the origin in pyproject.toml, then `cm weights pull`",
        ),
        (
            status(403),
            "{url}model.safetensors answered 403; "
            "give the token of a reader in HF_TOKEN, or use a Source",
        ),
        (
            status(503),
            "{url}model.safetensors answered 503, 8 times in a row; "
            "inside Foundry, import a Source whose network policy allows that host",
        ),
    ],
)
def test_a_failure_that_stays_is_said_in_one_line(
    hub: Hub, tmp_path: Path, fault: Any, message: str
) -> None:
    lock = lock_of(hub)
    # The hub's own redirect keeps the address that was asked for.
    hub.fail(SAFETENSORS, *3 * [fault])
    with pytest.raises(WeightsError) as refused:
        fetch(lock, tmp_path)
    whole = (hub.repos[REPO] / SAFETENSORS).read_bytes()
    wrong = hashlib.sha256(whole[:-1] + bytes([whole[-1] ^ 1])).hexdigest()
    right = lock.files[0].sha256
    assert str(refused.value) == message.format(url=lock.origin["url"], wrong=wrong, right=right)
    assert not (tmp_path / lock.name).exists()


def test_no_network_is_said_in_one_line(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    origin = HttpsOrigin("https://127.0.0.1:1/", requests.Session())
    with pytest.raises(WeightsError) as refused:
        download(lock, lambda: origin, tmp_path)
    assert str(refused.value) == (
        "the connection to 127.0.0.1 failed ([Errno 111] Connection refused), 8 times in a row; "
        "inside Foundry, import a Source whose network policy allows that host"
    )


def test_an_untrusted_certificate_is_said_at_once(hub: Hub, tmp_path: Path) -> None:
    session = requests.Session()
    session.trust_env = False
    with pytest.raises(
        WeightsError, match=r"certificate of localhost is not trusted .*name its CA in"
    ):
        download(lock_of(hub), lambda: HttpsOrigin(hub.url, session), tmp_path)


def test_too_little_disk_is_said_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1_000_000))
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} has 1.0 MB free and the weights need 70.1 MB; "
        "give the replica more disk, or name another folder in WEIGHTS_CACHE"
    )
    assert hub.requests == []


def test_a_disk_that_fills_up_meanwhile_is_said_in_one_line(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine, "_receive_once", full)
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path)
    assert str(refused.value) == (
        f"writing to {tmp_path} failed (No space left on device); "
        "give the replica more disk, or name another folder in WEIGHTS_CACHE"
    )


def test_a_cache_that_cannot_be_written_is_said_in_one_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path / "file" / "cache")
    assert str(refused.value) == (
        f"{tmp_path}/file/cache is not writable (Not a directory); "
        "name a writable folder in WEIGHTS_CACHE"
    )


def test_two_processes_download_once(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    held = threading.Event()

    def slowly(handler: Any, content: bytes) -> bool:
        held.wait(20)
        handler.reply(200, content, {})
        return True

    hub.fail(SAFETENSORS, slowly)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch, args=(lock, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    while len(hub.content_requests()) < 2:
        processes[0].join(0.05)
    processes[1].join(1)
    held.set()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len([path for _, path, _ in hub.requests if path.startswith("/storage")]) == 1


def test_progress_is_logged(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        fetch(lock_of(hub), tmp_path)
    assert "Weights: 1.6 MB of 3.0 MB" in caplog.text
    assert "Weights: 3.0 MB in " in caplog.text


# The command.


def test_the_command_pulls_and_verifies(hub: Hub, module: Module) -> None:
    def cm(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "foundry_cm", "weights", *words]
        env = {**os.environ, "NO_COLOR": "1"}
        return subprocess.run(command, cwd=module.folder, env=env, capture_output=True, text=True)

    pulled = cm("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert "2 files, 3.0 MB, as weights.lock says" in pulled.stderr
    assert "Wrote weights.lock; commit it, and not the files." in pulled.stderr
    assert cm("verify").returncode == 0
    (module.folder / "models" / "config.json").write_text("{}")
    refused = cm("verify")
    assert refused.returncode == 1
    assert "models/config.json has 2 bytes where weights.lock says 19" in refused.stderr
    assert "Traceback" not in refused.stderr
