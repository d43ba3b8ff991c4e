"""The query panel of the verbs that run a module until Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from foundry_cm.local.addresses import free_port
from foundry_cm.local.panel import access
from foundry_cm.local.panel.findings import Findings
from foundry_cm.local.panel.recorder import Recorder

PANEL_PORT = 8947


@dataclass
class Watched:
    """What the panel is told of a module in a folder."""

    folder: Path
    recorder: Recorder = field(init=False)
    findings: Findings = field(init=False)

    def __post_init__(self) -> None:
        self.recorder, self.findings = Recorder(self.folder), Findings(self.folder)

    def told(self, restart: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
        """The same restart, of which the panel hears first."""

        async def restart_and_tell(why: str) -> None:
            self.recorder.edited(why)
            await restart(why)

        return restart_and_tell

    @contextlib.asynccontextmanager
    async def panel(self, app: web.Application, port: int | None) -> AsyncIterator[str]:
        """Serve the panel while the block runs; gives its address. Without a port, the usual or a free one."""
        runner, address = await access.serve(app, free_port(PANEL_PORT) if port is None else port)
        try:
            yield address
        finally:
            await self.findings.stop()
            await runner.cleanup()
