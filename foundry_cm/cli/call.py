"""`cm call`: call a function and print its result."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from foundry_cm.cli import session, terminal
from foundry_cm.cli.console import label, milliseconds, say, say_next, show_json
from foundry_cm.cli.deployed import call_deployed, check_user
from foundry_cm.cli.files import with_files
from foundry_cm.cli.note import running_panel
from foundry_cm.cli.options import Command, Env, Folder, Port, Timeout
from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.function.foundry import check_mode
from foundry_cm.module.events import parse_event
from foundry_cm.module.project import Project

# A call that takes longer says what it waits for.
_SILENT_SECONDS = 2.0


def call(
    function: Annotated[str, typer.Argument(help="The function to call.")],
    command: Command = None,
    event: Annotated[
        Path | None,
        typer.Option(
            help="A file with the event as JSON; - reads it from standard input. Default: events/FUNCTION.json."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--json", help="The event itself, as JSON."),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", help="FIELD=PATH: put a file into the event as base64; repeatable."),
    ] = None,
    as_user: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="USER",
            help="The user that the module is told, with a token of the local platform.",
        ),
    ] = None,
    deployed: Annotated[
        bool,
        typer.Option(
            "--deployed",
            help="Call the deployed function, on the Foundry that FOUNDRY_HOSTNAME names, as FOUNDRY_TOKEN.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --deployed: call it without asking first.")
    ] = False,
    timeout: Timeout = None,
    port: Port = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Call a function and print its result as JSON; a terminal shows the beginning of a long vector.

    Uses the module that cm serve runs in this folder, or starts the module for this one call. With
    --deployed it calls the function that runs in Foundry, which may write there.
    """
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    if as_user is not None:
        check_user(as_user, deployed)
    value, where = _event(project, function, event, text)
    value = with_files(value, files or [])
    try:
        if deployed:
            result = call_deployed(project, function, value, timeout, yes)
        elif panel := None if command else running_panel(project.folder):
            result = terminal.run(_ask_panel(panel, function, value, timeout, as_user))
        else:
            start = session.Start(project, command or [], port=port, timeout=timeout)
            result = terminal.run(_start_and_call(start, function, value, as_user))
    except CmError as error:
        if error.code == "InvalidEvent":
            error.where = where
        raise
    show_json(result)


async def _ask_panel(
    panel: str, function: str, event: Any, timeout: float | None, as_user: str | None
) -> Any:
    given = {"timeout": timeout, "as": as_user}
    asked = urlencode({name: value for name, value in given.items() if value is not None})
    path = f"/api/functions/{quote(function, safe='')}/invoke?{asked}"
    asking = asyncio.create_task(session.ask(panel, "POST", path, json.dumps(event).encode()))
    done, _ = await asyncio.wait({asking}, timeout=_SILENT_SECONDS)
    if not done:
        say(
            "Waiting for the module of cm serve, which starts or works: its log says at what", "dim"
        )
    answer = await asking
    say(f"{function} answered in {milliseconds(answer['milliseconds'] / 1000)}", "green")
    return answer["result"]


async def _start_and_call(
    start: session.Start, function: str, event: Any, as_user: str | None
) -> Any:
    began = time.perf_counter()
    say("Starting the module for this call", "dim")
    async with start.foundry(terminal.Output()) as foundry:
        await foundry.ready()
        ready = time.perf_counter() - began
        for text in foundry.declarations.of_import:
            label("warning: ", text, style="bold yellow")
        result = await foundry.call(function, event, start.seconds_left(), as_user=as_user)
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
        return parse_event(sys.stdin.buffer.read(), "standard input"), "standard input"
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
