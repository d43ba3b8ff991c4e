"""The file that keeps the calls: private, bounded, and never a stranger's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from foundry_cm.local.panel import history as kept
from foundry_cm.local.panel.history import History
from tests.conftest import UNIX


def made(folder: Path, count: int, event: bytes = b"{}") -> History:
    """A history with so many calls."""
    history = History(folder)
    for number in range(count):
        call = history.begin("f", event)
        call.state, call.result = "ok", str(number)
        history.ended(call)
    return history


def results(history: History) -> list[str]:
    found = history.since(-1)
    assert found
    calls = [history.get(each["id"]) for each in found[1]["calls"]]
    return [str(call.result) for call in calls if call]


def test_calls_outlive_the_server_and_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = made(tmp_path, 3).path
    with path.open("ab") as file:
        file.write(b'{"id": "half')
    assert results(History(tmp_path)) == ["0", "1", "2"]
    assert (tmp_path / ".cm/.gitignore").read_text() == "*\n"


def test_old_calls_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_CALLS", 10)
    history = made(tmp_path, 25)
    assert results(history) == results(History(tmp_path)) == [str(n) for n in range(15, 25)]
    assert len(history.path.read_text().splitlines()) <= 21


def test_a_large_event_is_counted_and_not_kept(tmp_path: Path) -> None:
    history = made(tmp_path, 1, b'"' + b"x" * kept.LARGEST + b'"')
    assert history.path.stat().st_size < 1000


@UNIX
def test_a_history_that_a_repository_brings_along_is_not_read(tmp_path: Path) -> None:
    path = made(tmp_path, 1).path
    path.chmod(0o644)
    assert results(History(tmp_path)) == []
    path.chmod(0o600)
    path.parent.chmod(0o755)
    assert results(History(tmp_path)) == []


@UNIX
def test_a_history_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / ".cm").mkdir(mode=0o700)
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / ".cm/history.jsonl").symlink_to(target)
    made(tmp_path, 2)
    assert target.read_text() == "mine"


def test_half_a_surrogate_pair_in_a_failure_is_kept_as_text(tmp_path: Path) -> None:
    history = History(tmp_path)
    call = history.begin("\ud83d", b"{}")
    call.state, call.error = "failed", {"message": "no \ud83d"}
    history.ended(call)
    found = history.since(-1)
    assert found
    assert [each["error"] for each in found[1]["calls"]] == ["no \\ud83d"]
    assert msgspec.json.encode(found[1])


def test_cleared_means_gone(tmp_path: Path) -> None:
    history = made(tmp_path, 2)
    history.clear()
    assert not history.path.exists()
    assert results(history) == []
