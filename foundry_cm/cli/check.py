"""`cm check`: look for what an update left to do and for edits that an update would undo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from foundry_cm import checks
from foundry_cm.cli.console import err, say, show_json
from foundry_cm.cli.options import Folder
from foundry_cm.errors import FAILURE
from foundry_cm.module.project import Project


def check(
    format: Annotated[
        Literal["text", "json", "github"],
        typer.Option(help="text for people, json for programs, github for its annotations."),
    ] = "text",
    folder: Folder = Path(),
) -> None:
    """Look for what an update left to do, and for edits in files that an update replaces.

    Finds conflict markers, .rej files, edited files of the template and an edited answers file.
    Exit code 1 where there is anything.
    """
    found = checks.run(Project.read(folder).folder)
    if format == "json":
        show_json(
            [
                {"check": name, "file": f.file, "line": f.line, "what": f.what, "fix": f.fix}
                for name, f in found
            ]
        )
    for name, finding in found:
        if format == "github":
            text = f"{finding.what}. {finding.fix}"
            typer.echo(f"::error file={finding.file},line={finding.line},title={name}::{text}")
        elif format == "text":
            err.print(Text.assemble((f"{name}: ", "bold red"), finding.what))
            err.print(Text.assemble(("where: ", "bold"), finding.where))
            err.print(Text.assemble(("fix:   ", "bold"), finding.fix))
    if found:
        raise typer.Exit(FAILURE)
    if format == "text":
        say(f"{len(checks.CHECKS)} checks found nothing", "green")
