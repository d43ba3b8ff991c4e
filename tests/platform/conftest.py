"""The local platform on loopback, over TLS, and the unmodified official client against it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web
from foundry_sdk import Config, FoundryClient
from foundry_sdk._core import ComputeModulePipelineAuth

from foundry_cm.local.platform import REGISTRY, TOKENS, Faults, Resource, Tokens, create_platform

RESOURCES = [
    Resource("input"),
    Resource("output", writable=True),
    Resource("other", writable=True),
    Resource("events", "stream"),
    Resource("published", "stream", writable=True),
    Resource("images", "media_set"),
    Resource("pictures", "media_set", writable=True),
]


@dataclass
class LocalPlatform:
    """A running platform and what a module would find mounted."""

    root: Path
    url: str
    ca: Path
    token_file: Path
    app: web.Application
    faults: Faults

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    @property
    def tokens(self) -> Tokens:
        return self.app[TOKENS]

    def app_resources(self) -> list[Resource]:
        return RESOURCES

    def rid(self, alias: str) -> str:
        return self.app[REGISTRY].alias_map()[alias]["rid"] or ""

    def client(self, **config: Any) -> Any:
        return FoundryClient(
            auth=ComputeModulePipelineAuth(), config=Config(verify=str(self.ca), **config)
        )


@pytest.fixture
def platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalPlatform]:
    faults = Faults(getattr(request, "param", ()))
    access = Tokens(clients={"client": "secret"})
    app = create_platform(tmp_path, RESOURCES, access=access, faults=faults)
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    url = f"https://localhost:{port}"
    token_file = tmp_path / "BUILD2_TOKEN"
    token_file.write_text(access.pipeline)
    discovery = tmp_path / "discovery.yaml"
    services = {
        "api_gateway": [f"{url}/api"],
        "stream_proxy": [f"{url}/stream-proxy/api"],
        "multipass": [f"{url}/multipass/api"],
    }
    discovery.write_text(yaml.safe_dump(services))
    monkeypatch.setenv("BUILD2_TOKEN", str(token_file))
    monkeypatch.setenv("FOUNDRY_SERVICE_DISCOVERY_V2", str(discovery))
    # FoundryClient() raises with service discovery alone: it wants a host name besides.
    monkeypatch.setenv("FOUNDRY_HOSTNAME", url.removeprefix("https://"))
    try:
        yield LocalPlatform(tmp_path, url, ca, token_file, app, faults)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def client(platform: LocalPlatform) -> Any:
    return platform.client()
