"""The local platform in a thread of its own, with what a module would find mounted."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from foundry_sdk import Config, FoundryClient
from foundry_sdk._core import ComputeModulePipelineAuth

from foundry_cm.local.mounts import Mounts, pipeline_environment
from foundry_cm.local.platform.access import TOKENS, Tokens
from foundry_cm.local.platform.app import create_platform
from foundry_cm.local.platform.faults import FAULTS, Faults
from foundry_cm.local.platform.registry import REGISTRY, Registry
from foundry_cm.local.platform.resources import Resource
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.site import Run, Site


@dataclass
class LocalPlatform:
    """A running platform; `environment` are the variables of a module with every permission."""

    root: Path
    host: str
    app: web.Application
    mounts: Mounts
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    @property
    def ca(self) -> Path:
        return self.mounts.ca

    @property
    def token_file(self) -> Path:
        return Path(self.environment["BUILD2_TOKEN"])

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    @property
    def tokens(self) -> Tokens:
        return self.app[TOKENS]

    @property
    def faults(self) -> Faults:
        return self.app[FAULTS]

    @property
    def registry(self) -> Registry:
        return self.app[REGISTRY]

    def rid(self, alias: str) -> str:
        return self.registry.alias_map()[alias]["rid"] or ""

    def put(self, path: str, content: bytes) -> None:
        """Put a file into an input: its alias, then its path there."""
        file = self.root / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def client(self, **config: Any) -> Any:
        return FoundryClient(
            auth=ComputeModulePipelineAuth(), config=Config(verify=str(self.ca), **config)
        )


@contextmanager
def running_platform(
    root: Path, resources: Iterable[Resource], faults: Iterable[str] = ()
) -> Iterator[LocalPlatform]:
    """Serve the data below a folder until the block ends; `sources.local.toml` there is mounted too."""
    tokens = Tokens()
    scratch = tokens.share()
    app = create_platform(root, resources, access=tokens, faults=Faults(faults))
    site = Site(Run(command=[], folder=root), Reporter())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        mounts = asyncio.run_coroutine_threadsafe(site.open(), loop).result(10)
        host = asyncio.run_coroutine_threadsafe(site.listen(app), loop).result(10)
        aliases = app[REGISTRY].alias_map()
        environment = pipeline_environment(
            mounts, platform=host, token=tokens.pipeline, aliases=aliases
        )
        yield LocalPlatform(root, host, app, mounts, environment | tokens.register() | scratch)
    finally:
        asyncio.run_coroutine_threadsafe(site.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
