"""`cm event`: a valid event, made from the function's own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli import names, session, terminal
from foundry_cm.cli.console import say_next, show_json
from foundry_cm.cli.options import Command, Env, Folder, Port, Timeout
from foundry_cm.errors import CmError
from foundry_cm.local.function.foundry import check_mode
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project


def event(
    function: Annotated[
        str,
        typer.Argument(help="The function to make an event for.", autocompletion=names.complete),
    ],
    command: Command = None,
    edge: Annotated[
        bool,
        typer.Option("--edge", help="Use extreme values, and leave out optional fields."),
    ] = False,
    timeout: Timeout = None,
    port: Port = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Print a valid event, made from the types that the function declares."""
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    start = session.Start(project, command or [], port=port, timeout=timeout)
    schemas = terminal.run(session.posted_schemas(start, at_server=not command))
    functions = {item.name: item for item in map(Function, schemas)}
    if function not in functions:
        raise names.unknown(function, set(functions))
    if not functions[function].inputs:
        raise CmError(
            f"{function} declares no inputs, so no event can be made for it",
            fix="With the Python SDK, annotate the event with a dataclass of your own. Now the "
            "function takes any JSON.",
            code="NoInputs",
        )
    show_json(functions[function].sample_event(edge=edge))
    say_next(f"cm call {function} --event FILE", "calls it with the event in FILE")
