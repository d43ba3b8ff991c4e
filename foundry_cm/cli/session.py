"""Finding a module to talk to: the one that `cm serve` runs here, or one started for the occasion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp

from foundry_cm.cli.note import running_panel
from foundry_cm.errors import FAILURE, CmError
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.local.reporter import Reporter
from foundry_cm.module.project import Project


async def ask(panel: str, method: str, path: str, body: bytes | None = None) -> Any:
    """The JSON answer of the panel.

    Raises the `CmError` that the panel reports, and one of its own where it does not answer.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.request(method, panel + path, data=body) as response,
        ):
            answer = await response.json()
    except aiohttp.ClientError as error:
        raise CmError(
            f"The running cm serve does not answer: {error}",
            where=panel,
            fix="Start it again: cm serve",
        ) from None
    if isinstance(answer, dict) and "error" in answer:
        told = answer["error"]
        raise CmError(
            told["message"],
            where=told.get("where"),
            fix=told.get("fix"),
            code=told["code"],
            details=told.get("details"),
            exit_code=told.get("exitCode", FAILURE),
        )
    return answer


def started(project: Project, command: Sequence[str], reporter: Reporter) -> LocalFoundry:
    """A local Foundry for one occasion: one replica, not started again when it dies."""
    settings = Settings.of(project, command=project.command(command), restart=False)
    return LocalFoundry(settings, reporter)


async def posted_schemas(project: Project, command: Sequence[str]) -> list[Any]:
    """The schemas that the module posts, from the running server or from a start for this purpose.

    Raises `CmError` where the module dies first, or asks for work without having posted any.
    """
    panel = None if command else running_panel(project.folder)
    if panel:
        schemas = await ask(panel, "GET", "/api/schemas")
    else:
        async with started(project, command, Reporter()) as foundry:
            await foundry.ready()
            schemas = foundry.schemas
    if schemas is None:
        raise CmError(
            "The module declares no functions: it never posted a schema",
            fix="With the Python SDK, @function and typed handlers post one by themselves.",
        )
    return list(schemas)
