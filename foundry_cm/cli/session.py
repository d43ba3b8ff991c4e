"""Finding a module to talk to: the one that `cm serve` runs here, or one started for the occasion."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from foundry_cm.cli.console import say
from foundry_cm.cli.note import running_panel
from foundry_cm.errors import FAILURE, CmError
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.project import Project


async def ask(panel: str, method: str, path: str) -> Any:
    """The JSON answer of the panel.

    Raises the `CmError` that the panel reports, and one of its own where it does not answer.
    """
    [answer] = [value async for value in ask_live(panel, method, path)]
    return answer


async def ask_live(
    panel: str, method: str, path: str, body: bytes | None = None, accept: str = "application/json"
) -> AsyncIterator[Any]:
    """The JSON values of an answer of the panel, one in each line; raises as `ask` does."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.request(
                method, panel + path, data=body, headers={"Accept": accept}
            ) as response,
        ):
            # The last line has no end where the answer is one value.
            async for line in _lines(response.content):
                value = json.loads(line)
                if (
                    isinstance(value, dict)
                    and "error" in value
                    and value.keys() <= {"error", "about"}
                ):
                    raise _reported(value["error"])
                yield value
    except (aiohttp.ClientError, json.JSONDecodeError) as error:
        raise CmError(
            f"The running cm serve does not answer: {error}",
            where=panel,
            fix="Restart it: cm serve",
        ) from None


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of an answer, of any length."""
    pieces: list[bytes] = []
    async for piece in content.iter_any():
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join([*pieces, line])
            pieces = []
        pieces.append(rest)
    if any(pieces):
        yield b"".join(pieces)


def _reported(told: dict[str, Any]) -> CmError:
    return CmError(
        told["message"],
        where=told.get("where"),
        fix=told.get("fix"),
        code=told["code"],
        details=told.get("details"),
        exit_code=told.get("exitCode", FAILURE),
    )


class Start:
    """A module that is started for one occasion: one replica, not started again when it dies.

    `timeout` is how long all of it may take, from now on.
    """

    def __init__(
        self,
        project: Project,
        command: Sequence[str],
        *,
        port: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.folder = project.folder
        self.seconds = project.timeout_seconds if timeout is None else timeout
        self._project, self._command, self._port = project, command, port
        self._began = time.monotonic()

    def foundry(self, reporter: Reporter) -> LocalFoundry:
        """The local Foundry that runs it; raises `CmError` where there is nothing to run."""
        settings = Settings.of(
            self._project,
            command=self._project.command(self._command),
            restart=False,
            once=True,
            port=self._port,
            older=True,
            timeout_seconds=self.seconds,
        )
        return LocalFoundry(settings, reporter)

    def seconds_left(self) -> float:
        """How much of the time is left, and a little at least."""
        return max(0.1, self.seconds - (time.monotonic() - self._began))


class _Silent(Reporter):
    """Shows nothing of the module, but what the local Foundry has to say of itself."""

    def noted(self, text: str) -> None:
        say(text, "yellow")


async def posted_schemas(start: Start, *, at_server: bool) -> list[Any]:
    """The schemas that the module posts: to the server that runs it, or from a start for this purpose.

    Raises `CmError` where the module dies first, asks for work without having posted any, or has
    posted those of half a module.
    """
    panel = running_panel(start.folder) if at_server else None
    if panel:
        return list(await ask(panel, "GET", f"/api/schemas?timeout={start.seconds}"))
    async with start.foundry(_Silent()) as foundry:
        await foundry.ready()
        return foundry.declarations.whole()
