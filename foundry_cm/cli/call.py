"""`cm call`: call a function and print its result."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from foundry_cm.cli import session, terminal
from foundry_cm.cli.console import milliseconds, say, say_next, show_json
from foundry_cm.cli.note import running_panel
from foundry_cm.cli.options import Command, Folder, finite
from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.function.foundry import check_mode
from foundry_cm.local.panel import parse_event
from foundry_cm.module.project import Project


def call(
    function: Annotated[str, typer.Argument(help="The function to call.")],
    command: Command = None,
    event: Annotated[
        Path | None,
        typer.Option(
            help="A file with the event as JSON; - reads it from standard input.  [default: events/FUNCTION.json]"
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--json", help="The event itself, as JSON."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            callback=finite, help="How long to wait for the answer, in seconds.  [default: 300]"
        ),
    ] = None,
    folder: Folder = Path(),
) -> None:
    """Call a function and print its result as JSON.

    Uses the module that cm serve runs in this folder, or starts the module for this one call.
    """
    project = Project.read(folder)
    check_mode(project.folder)
    value, where = _event(project, function, event, text)
    try:
        panel = None if command else running_panel(project.folder)
        if panel:
            result = terminal.run(_ask_panel(panel, function, value, timeout))
        else:
            result = terminal.run(_start_and_call(project, command or [], function, value, timeout))
    except CmError as error:
        if error.code == "InvalidEvent":
            error.where = where
        raise
    show_json(result)


async def _ask_panel(panel: str, function: str, event: Any, timeout: float | None) -> Any:
    path = f"/api/functions/{quote(function, safe='')}/invoke"
    if timeout is not None:
        path += f"?timeout={timeout}"
    answer = await session.ask(panel, "POST", path, json.dumps(event).encode())
    say(f"{function} answered in {milliseconds(answer['milliseconds'] / 1000)}", "green")
    return answer["result"]


async def _start_and_call(
    project: Project, command: list[str], function: str, event: Any, timeout: float | None
) -> Any:
    began = time.perf_counter()
    async with session.started(project, command, terminal.Output()) as foundry:
        await foundry.ready()
        ready = time.perf_counter() - began
        result = await foundry.call(function, event, timeout)
    say(
        f"{function} answered in {milliseconds(result.seconds)}; "
        f"the module took {milliseconds(ready)} to start",
        "green",
    )
    say_next("cm serve", "keeps the module running between calls")
    return result.value


def _event(project: Project, function: str, file: Path | None, text: str | None) -> tuple[Any, str]:
    """The event and where it came from.

    Raises `CmError` for a file that is not there or is not JSON.
    """
    if text is not None and file is not None:
        raise CmError(
            "Both --event and --json were given", fix="Give one of them.", exit_code=USAGE
        )
    if text is not None:
        return parse_event(text, "--json"), "--json"
    if file == Path("-"):
        return parse_event(sys.stdin.read(), "standard input"), "standard input"
    path = file or project.folder / "events" / f"{function}.json"
    try:
        return parse_event(
            path.read_text(encoding="utf-8"), str(file or f"events/{path.name}")
        ), str(file or f"events/{path.name}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CmError(
            f"The event cannot be read: {reason}",
            where=str(path),
            fix=_event_advice(project, function, file),
            exit_code=USAGE,
        ) from None


def _event_advice(project: Project, function: str, file: Path | None) -> str:
    """How to come by an event: a near miss among the sample events, or one made from the schema."""
    stems = [path.stem for path in (project.folder / "events").glob("*.json")]
    if file is None and stems and function not in stems:
        return (
            f"{near_miss(function, stems)} A new one: cm event {function} > events/{function}.json"
        )
    return f"Make one: cm event {function} > events/{function}.json"
