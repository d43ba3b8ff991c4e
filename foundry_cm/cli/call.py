"""`cm call`: call a function and print its result."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from foundry_cm.cli import names, session, terminal
from foundry_cm.cli.console import (
    label,
    milliseconds,
    say,
    say_actions,
    say_next,
    show_error,
    show_item,
    show_json,
)
from foundry_cm.cli.deployed import call_deployed, check_user
from foundry_cm.cli.files import with_files
from foundry_cm.cli.note import running_panel
from foundry_cm.cli.options import Command, Env, Folder, Port, Timeout
from foundry_cm.errors import FAILURE, USAGE, CmError, near_miss
from foundry_cm.load.result import quantile
from foundry_cm.local.function.foundry import check_mode
from foundry_cm.local.function.heard import Heard
from foundry_cm.local.panel.live import CONTENT_TYPE as NDJSON
from foundry_cm.module.events import parse_event
from foundry_cm.module.project import Project

# A call that takes longer says what it waits for.
_SILENT_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its result, or nothing where that was printed item by item; and its time."""

    milliseconds: float
    result: Any = None
    printed: bool = False


@dataclass(frozen=True)
class Asked:
    """What is called, and what is shown of it meanwhile."""

    function: str
    event: Any
    timeout: float | None
    as_user: str | None
    logs: bool
    repeat: int


def call(
    function: Annotated[
        str, typer.Argument(help="The function to call.", autocompletion=names.complete)
    ],
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
        typer.Option("--file", help="FIELD=PATH: put a file into the event as base64. Repeatable."),
    ] = None,
    as_user: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="USER",
            help="The user of the job, with a token for the local platform.",
        ),
    ] = None,
    deployed: Annotated[
        bool,
        typer.Option(
            "--deployed",
            help="Call the deployed function, in the Foundry at FOUNDRY_HOSTNAME, with "
            "FOUNDRY_TOKEN.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --deployed: call it without asking first.")
    ] = False,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            "-n",
            min=1,
            help="Repeat the call this many times, one after the other, and print the last "
            "result, p50 and p95.",
        ),
    ] = 1,
    logs: Annotated[
        bool, typer.Option("--logs", help="Show what the module logs for this call.")
    ] = False,
    timeout: Timeout = None,
    port: Port = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Call a function and print its result as JSON.

    A streamed result arrives item by item, each as a line of JSON. A terminal shows only the
    beginning of a long vector. The call goes to the module that cm serve runs in this folder;
    if none runs, cm starts the module for this call. With --deployed, it goes to the function
    in your Foundry, which may write there.
    """
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    if as_user is not None:
        check_user(as_user, deployed)
    value, where = _event(project, function, event, text, command or [])
    asked = Asked(function, with_files(value, files or []), timeout, as_user, logs, repeat)
    failed = 0
    try:
        if deployed:
            _check_alone(repeat, logs)
            show_json(call_deployed(project, function, asked.event, timeout, yes))
        elif panel := None if command else running_panel(project.folder):
            failed = terminal.run(_repeat(asked, partial(_ask_panel, panel, asked)))
        else:
            start = session.Start(project, command or [], port=port, timeout=timeout)
            failed = terminal.run(_start_and_call(start, asked))
    except CmError as error:
        if error.code == "InvalidEvent":
            error.where = where
        raise
    if failed:
        raise typer.Exit(FAILURE)


def _check_alone(repeat: int, logs: bool) -> None:
    """Raise a `CmError` where more is asked of a deployed function than one call."""
    if repeat > 1 or logs:
        raise CmError(
            "--repeat and --logs need a module on this machine",
            fix="Give --deployed without them.",
            exit_code=USAGE,
        )


async def _repeat(asked: Asked, once: Callable[[bool], Awaitable[Outcome]]) -> int:
    """Call as often as is asked for, and print the last result; gives how many of several failed.

    Raises the `CmError` of a single call, and of one that no repetition can mend.
    """
    took: list[float] = []
    outcome: Outcome | None = None
    failed = 0
    for number in range(asked.repeat):
        try:
            outcome = await once(number == asked.repeat - 1)
            took.append(outcome.milliseconds)
        except CmError as error:
            if asked.repeat == 1 or error.exit_code == USAGE:
                raise
            failed += 1
            if failed == 1:
                show_error(error)
    if outcome and not outcome.printed:
        show_json(outcome.result)
    if asked.repeat > 1:
        _show_times(asked, took, failed)
    elif outcome:
        say(f"{asked.function} answered in {milliseconds(outcome.milliseconds / 1000)}", "green")
    return failed


def _show_times(asked: Asked, took: list[float], failed: int) -> None:
    times = "".join(
        f", {name} {milliseconds(quantile(sorted(took), share) / 1000)}"
        for name, share in (("p50", 0.5), ("p95", 0.95))
        if took
    )
    ends = f", {failed} failed" if failed else ""
    say(
        f"{asked.function} was called {asked.repeat} times{times}{ends}",
        "red" if failed else "green",
    )


async def _ask_panel(panel: str, asked: Asked, shown: bool) -> Outcome:
    query = {"lines": "1"} if asked.logs else {}
    if asked.timeout is not None:
        query["timeout"] = str(asked.timeout)
    if asked.as_user is not None:
        query["as"] = asked.as_user
    path = f"/api/functions/{quote(asked.function, safe='')}/invoke?{urlencode(query)}"
    body = json.dumps(asked.event).encode()
    waiting = asyncio.get_running_loop().call_later(_SILENT_SECONDS, _say_waiting)
    last: dict[str, Any] = {}
    printed = False
    try:
        async for last in session.ask_live(panel, "POST", path, body, NDJSON):
            waiting.cancel()
            if last.keys() == {"line"}:
                say(f"  | {last['line']}", "dim")
            elif last.keys() == {"item"}:
                printed = True
                if shown:
                    show_item(last["item"])
    finally:
        waiting.cancel()
    return Outcome(last["milliseconds"], last.get("result"), printed)


def _say_waiting() -> None:
    say("Waiting for the module of cm serve; its log shows what it does", "dim")


async def _start_and_call(start: session.Start, asked: Asked) -> int:
    began = time.perf_counter()
    say("Starting the module for this call", "dim")
    async with start.foundry(terminal.Output()) as foundry:
        await foundry.ready()
        ready = time.perf_counter() - began
        for text in foundry.declarations.of_import:
            label("warning: ", text, style="bold yellow")

        async def once(shown: bool) -> Outcome:
            # Its log is on the terminal already, as that of its start is.
            printed = 0

            def item(value: Any) -> None:
                nonlocal printed
                printed += 1
                if shown:
                    show_item(value)

            result = await foundry.call(
                asked.function,
                asked.event,
                start.seconds_left(),
                heard=Heard(item),
                as_user=asked.as_user,
            )
            return Outcome(result.seconds * 1000, result.value, bool(printed))

        failed = await _repeat(asked, once)
        if foundry.registry and (ontology := foundry.registry.ontology):
            say_actions(ontology.edits.applied)
    say(f"The module took {milliseconds(ready)} to start", "green")
    say_next("cm serve", "keeps the module running between calls")
    return failed


def _event(
    project: Project, function: str, file: Path | None, text: str | None, command: list[str]
) -> tuple[Any, str]:
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
    where = str(file or f"events/{path.name}")
    try:
        return parse_event(path.read_text(encoding="utf-8"), where), where
    except (OSError, UnicodeDecodeError) as error:
        found = names.known_functions(project, command)
        if file is None and found and function not in found:
            raise names.unknown(function, found) from None
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CmError(
            f"The event cannot be read: {reason}",
            where=str(path),
            fix=_event_advice(project, function, file),
            exit_code=USAGE,
        ) from None


def _event_advice(project: Project, function: str, file: Path | None) -> str:
    """How to come by an event: a near miss among the sample events, or one made from the schema."""
    stems = names.with_events(project)
    if file is None and stems and function not in stems:
        return (
            f"{near_miss(function, stems)} A new one: cm event {function} > events/{function}.json"
        )
    return f"Make one: cm event {function} > events/{function}.json"
