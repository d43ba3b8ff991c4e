"""What a replica does before it serves: weights arrive whole and verified, or not at all."""

import hashlib
import multiprocessing
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stamina
from werkzeug.wrappers import Request, Response

from foundry_cm.weights import download as engine
from foundry_cm.weights.download import download
from foundry_cm.weights.https import HttpsOrigin, Session
from foundry_cm.weights.lock import WeightsError, verify
from tests.models.conftest import REPO
from tests.models.hub import Hub, corrupted, replies, status, truncated
from tests.models.weights import SAFETENSORS, fetch, lock_of

pytestmark = pytest.mark.usefixtures("no_waiting")


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
    with pytest.raises(WeightsError):
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

    hub.fail(SAFETENSORS, truncated(900_000), replies(200))
    assert (fetch(lock_of(hub), tmp_path) / SAFETENSORS).read_bytes() == whole


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_failure_that_may_pass_is_tried_again(hub: Hub, tmp_path: Path, code: int) -> None:
    hub.fail(SAFETENSORS, status(code), status(code))
    verify(fetch(lock_of(hub), tmp_path), lock_of(hub))


def test_a_server_that_asks_to_wait_is_given_the_time(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = engine.TransientError("busy", wait=7.0)
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
            "model.safetensors from {url} has SHA-256 {wrong}, but weights.lock has {right}; "
            "if the change is intended, run `cm weights pull --update`",
        ),
        (
            truncated(1_000),
            "the connection to localhost failed (IncompleteRead(1000 bytes read, 2999000 more "
            "expected)), 8 times in a row; "
            "correct the origin, or name the proxy of this network in HTTPS_PROXY",
        ),
        (
            status(404),
            "{url}model.safetensors answered 404; "
            "correct the origin in pyproject.toml, then `cm weights pull`",
        ),
        (
            status(403),
            "{url}model.safetensors answered 403; "
            "give the token of a reader in HF_TOKEN, which goes to the hub in HF_ENDPOINT alone",
        ),
        (
            status(503),
            "{url}model.safetensors answered 503, 8 times in a row; try again in a while",
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


@pytest.mark.parametrize(
    ("variables", "fix"),
    [
        ({}, "correct the origin, or name the proxy of this network in HTTPS_PROXY"),
        (
            {"FOUNDRY_COMPUTE_MODULE_RID": "ri.foundry.main.deployed-app.1"},
            "in Foundry, import a Source whose network policy allows that host",
        ),
    ],
    ids=["laptop", "replica"],
)
def test_no_network_is_said_in_one_line(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    fix: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    lock = lock_of(hub)
    origin = HttpsOrigin("https://127.0.0.1:1/", Session())
    with pytest.raises(WeightsError) as refused:
        download(lock, lambda: origin, tmp_path)
    assert str(refused.value) == (
        "the connection to 127.0.0.1 failed ([Errno 111] Connection refused), 8 times in a row; "
        f"{fix}"
    )


def test_an_untrusted_certificate_is_said_at_once(hub: Hub, tmp_path: Path) -> None:
    session = Session()
    session.trust_env = False
    with pytest.raises(
        WeightsError, match=r"certificate of localhost is not trusted .*name a file with its CA in"
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
        "make room on its disk, or name another folder in WEIGHTS_CACHE"
    )
    assert hub.requests == []


def test_a_disk_that_fills_up_meanwhile_is_said_in_one_line(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine._Arrival, "_take", full)
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path)
    assert str(refused.value) == (
        f"writing to {tmp_path} failed (No space left on device); "
        "make room on its disk, or name another folder in WEIGHTS_CACHE"
    )


def test_a_cache_that_cannot_be_written_is_said_in_one_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path / "file" / "cache")
    assert str(refused.value) == (
        f"writing to {tmp_path}/file/cache failed (Not a directory); "
        "make it a folder to write in, or name another folder in WEIGHTS_CACHE"
    )


def test_two_processes_download_once(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    held = threading.Event()

    def slowly(_request: Request, content: bytes) -> Response:
        held.wait(20)
        return Response(content)

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
    assert re.search(r"Weights: 1\.\d MB of 3\.0 MB", caplog.text)
    assert "Weights: 3.0 MB in " in caplog.text
