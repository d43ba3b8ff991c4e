"""The cache and the locks of the SDK's package `scratch`, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from scratch import CacheTTL, DistributedCache, DistributedLock
from scratch._client import _get_default_client
from scratch._types import CacheError, CacheUnavailableError, RateLimitedError

from foundry_cm.local.platform.scratch.routes import PREFIX, SHARED
from tests.platforms import LocalPlatform, running_platform


@pytest.fixture
def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalPlatform]:
    with running_platform(tmp_path, [], getattr(request, "param", ())) as running:
        names = (
            "SCRATCH_TOKEN",
            "FOUNDRY_SERVICE_DISCOVERY_V2",
            "CONNECTIONS_TO_OTHER_PODS_CA_PATH",
        )
        for name in names:
            monkeypatch.setenv(name, running.environment[name])
        # Of this shell: to requests they count for more than what the SDK asks for.
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        _get_default_client.cache_clear()
        yield running
    _get_default_client.cache_clear()


def later(running: LocalPlatform, seconds: float) -> None:
    """Let so much time go by."""
    shared = running.app[SHARED].scratch
    before = shared.clock
    shared.clock = lambda: before() + seconds


def test_texts_stay_for_their_time(running: LocalPlatform) -> None:
    cache = DistributedCache(default_ttl=CacheTTL.ONE_MINUTE)
    assert (cache.get("a"), cache.exists("a")) == (None, False)
    cache.put("a", "one")
    cache.put("b", "two", ttl=CacheTTL.ONE_DAY)
    assert (cache.get("a"), cache.exists("a")) == ("one", True)
    assert cache.batch_get(["a", "b", "c"]) == {"a": "one", "b": "two"}
    later(running, 61)
    assert (cache.get("a"), cache.get("b")) == (None, "two")
    cache.delete("b")
    cache.delete("b")
    assert cache.batch_get(["a", "b"]) == {}


def test_one_holds_a_lock_and_loses_it_after_twenty_seconds(running: LocalPlatform) -> None:
    locks = DistributedLock()
    held = locks.try_lock("batch")
    assert held and held.lock_name == "batch"
    assert locks.try_lock("batch") is None
    assert locks.try_lock("other")
    later(running, 15)
    assert held.refresh()
    later(running, 15)
    assert locks.try_lock("batch") is None
    later(running, 15)
    taken = locks.try_lock("batch")
    assert taken and not held.refresh()
    held.unlock()
    assert locks.try_lock("batch") is None
    taken.unlock()
    assert locks.try_lock("batch")


def test_token_of_another_module_is_refused(
    running: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH_TOKEN", running.tokens.pipeline)
    with pytest.raises(CacheError, match="the auth token is invalid"):
        DistributedCache().get("a")
    monkeypatch.setenv("SCRATCH_TOKEN", "kéy")
    with pytest.raises(CacheError, match="the auth token is invalid"):
        DistributedCache().get("a")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("cache", {"key": "a", "value": "bare"}),
        ("cache", {"key": "a", "value": {"value": "x"}, "ttl": "TWO_DAYS"}),
        ("cache/get", {}),
        ("cache/batch-get", {"keys": ["a"] * 101}),
        ("lock/unlock", {"handle": "x"}),
    ],
)
def test_call_that_means_nothing_is_refused(
    running: LocalPlatform, path: str, body: dict[str, object]
) -> None:
    headers = {"Authorization": running.environment["SCRATCH_TOKEN"]}
    url = f"{running.url}{PREFIX}/{path}"
    answer = requests.post(url, json=body, headers=headers, verify=str(running.ca), timeout=10)
    assert (answer.status_code, answer.json()["errorName"]) == (400, "Default:InvalidArgument")


@pytest.mark.parametrize("running", [["429@cache", "503@lock"]], indirect=True)
def test_faults_strike_the_cache_and_the_locks(running: LocalPlatform) -> None:
    with pytest.raises(RateLimitedError):
        DistributedCache().get("a")
    with pytest.raises(CacheUnavailableError):
        DistributedLock().try_lock("a")
