"""`cm event`: a valid event, made from the function's own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli import session, terminal
from foundry_cm.cli.console import say_next, show_json
from foundry_cm.cli.options import Command, Folder
from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project


def event(
    function: Annotated[str, typer.Argument(help="The function to make an event for.")],
    command: Command = None,
    edge: Annotated[
        bool,
        typer.Option("--edge", help="Extreme values, and no field that may be left out."),
    ] = False,
    folder: Folder = Path(),
) -> None:
    """Print a valid event, made from the types that the function declares."""
    schemas = terminal.run(session.posted_schemas(Project.read(folder), command or []))
    functions = {item.name: item for item in map(Function, schemas)}
    if function not in functions:
        raise CmError(
            f'The module has no function "{function}"',
            fix=near_miss(function, functions),
            code="UnknownFunction",
            exit_code=USAGE,
        )
    show_json(functions[function].sample_event(edge=edge))
    say_next(f"cm call {function} --event FILE", "calls it with the event in FILE")
