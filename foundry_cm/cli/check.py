"""`cm check`: look for what an update left to do and for edits that an update would undo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from foundry_cm import checks
from foundry_cm.checks import Finding, Severity
from foundry_cm.cli.console import err, say, show_json
from foundry_cm.cli.options import Folder
from foundry_cm.errors import FAILURE


def check(
    format: Annotated[
        Literal["text", "json", "github"],
        typer.Option(help="text for people, json for programs, github for its annotations."),
    ] = "text",
    folder: Folder = Path(),
) -> None:
    """Look for what an update left to do, and for edits in files that an update replaces.

    Exit code 1 where there is anything to mend; a notice is only told.
    """
    found = checks.run(folder)
    if format == "json":
        show_json({"findings": [_as_json(finding) for finding in found]})
    for finding in found:
        if format == "github":
            place = f"file={finding.path},line={finding.line},title={finding.code} {finding.name}"
            typer.echo(f"::{finding.severity} {place}::{finding.message}. {finding.fix}")
        elif format == "text":
            style = "bold red" if finding.severity == Severity.ERROR else "bold yellow"
            err.print(Text.assemble((f"{finding.code} {finding.name}: ", style), finding.message))
            err.print(Text.assemble(("where: ", "bold"), finding.where))
            err.print(Text.assemble(("fix:   ", "bold"), finding.fix))
    if any(finding.severity == Severity.ERROR for finding in found):
        raise typer.Exit(FAILURE)
    if format == "text":
        say(f"{len(checks.checks())} checks found nothing to mend", "green")


def _as_json(finding: Finding) -> dict[str, str | int]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "path": finding.path,
        "line": finding.line,
        "message": finding.message,
        "fix": finding.fix,
    }
