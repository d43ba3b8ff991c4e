"""The local platform on loopback, over TLS, and the unmodified official client against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.local.platform.resources import Resource
from tests.platforms import LocalPlatform, running_platform

RESOURCES = [
    Resource("input"),
    Resource("output", writable=True),
    Resource("other", writable=True),
    Resource("events", "stream"),
    Resource("published", "stream", writable=True),
    Resource("images", "media_set"),
    Resource("pictures", "media_set", writable=True),
]


@pytest.fixture
def platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalPlatform]:
    with running_platform(tmp_path, RESOURCES, getattr(request, "param", ())) as running:
        for name in ("BUILD2_TOKEN", "FOUNDRY_SERVICE_DISCOVERY_V2"):
            monkeypatch.setenv(name, running.environment[name])
        # FoundryClient() raises with service discovery alone: it wants a host name besides.
        monkeypatch.setenv("FOUNDRY_HOSTNAME", running.host)
        yield running


@pytest.fixture
def client(platform: LocalPlatform) -> Any:
    return platform.client()
