"""`cm check`: look for what an update left to do and for edits that an update would undo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foundry_cm import checks
from foundry_cm.checks import Finding
from foundry_cm.cli.console import label, say, show_annotation, show_json
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

    Exit code 1 where there is anything to mend; a notice is only told.
    """
    found = checks.run(Project.read(folder).folder)
    if format == "json":
        show_json([_as_json(name, finding) for name, finding in found])
    for name, finding in found:
        if format == "github":
            level = "notice" if finding.notice else "error"
            told = f"{finding.what}. {finding.fix}"
            show_annotation(level, told, file=finding.file, line=finding.line, title=name)
        elif format == "text":
            style = "bold yellow" if finding.notice else "bold red"
            label(f"{'notice' if finding.notice else name}: ", finding.what, style=style)
            label("where: ", finding.where)
            label("fix:   ", finding.fix)
    if not all(finding.notice for _, finding in found):
        raise typer.Exit(FAILURE)
    if format == "text":
        say(f"{len(checks.CHECKS)} checks found nothing to mend", "green")


def _as_json(name: str, finding: Finding) -> dict[str, str | int]:
    return {
        "check": name,
        "level": "notice" if finding.notice else "error",
        "file": finding.file,
        "line": finding.line,
        "what": finding.what,
        "fix": finding.fix,
    }
