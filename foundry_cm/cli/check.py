"""`cm check`: every known way to lose days on a module, found before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foundry_cm.checks import Finding, Module, Severity, checks, pages, run_all
from foundry_cm.checks.fixes import mended
from foundry_cm.cli import report
from foundry_cm.cli.console import say, say_next, show_json
from foundry_cm.cli.options import Engine, Folder
from foundry_cm.errors import FAILURE, USAGE, CmError, near_miss, printable
from foundry_cm.image.image import check_ref
from foundry_cm.module.project import CODE

_OF_A_MODULE = (*CODE, "Dockerfile", "Containerfile", ".copier-answers.yml")


def check(
    live: Annotated[
        bool,
        typer.Option("--live", help="Also start the module under the local Foundry and call it."),
    ] = False,
    container: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="With --live: start this image of the module.", show_default=False
        ),
    ] = None,
    engine: Engine = None,
    format: Annotated[
        Literal["text", "json", "github", "sarif"],
        typer.Option(help="text for people, json and sarif for tools, github for annotations."),
    ] = "text",
    strict_exit: Annotated[
        bool, typer.Option("--strict-exit", help="Exit with code 1 for warnings too.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Show safe fixes as a diff, and ask before writing them."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: write without asking.")] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Print what a check looks for, and why.", show_default=False
        ),
    ] = None,
    folder: Folder = Path(),
) -> None:
    """Find what would fail in Foundry: in the code, the image and the requirements.

    It does not run the module, except with --live. It exits with code 1 if there are errors;
    warnings and notices do not change the exit code.
    """
    if explain is not None:
        return _explain(explain)
    if (yes and not fix) or (fix and format != "text"):
        wrong = (
            "--yes belongs to --fix" if yes and not fix else "--fix has no other format than text"
        )
        raise CmError(wrong, fix="cm check --fix --yes", exit_code=USAGE)
    if (container and not live) or (engine and not container):
        wrong = "--engine belongs to --container" if engine else "--container belongs to --live"
        raise CmError(wrong, fix="cm check --live --container IMAGE", exit_code=USAGE)
    image = container and check_ref(container)
    module = Module.read(folder, container=image, engine=engine)
    if not any(name.endswith(_OF_A_MODULE) for name in module.files):
        raise CmError(
            "There is no module here: no code and no Dockerfile",
            where=str(module.folder),
            fix="Give the module's folder: cm check -C FOLDER",
            exit_code=USAGE,
        )
    wanted = [each for each in checks() if live or not each.live]
    found = run_all(module, wanted)
    if fix and _mend(module, found, yes):
        module = Module.read(folder, container=image, engine=engine)
        found = run_all(module, wanted)
    _show(format, module, found, len(wanted))
    failing = {Severity.ERROR, Severity.WARNING} if strict_exit else {Severity.ERROR}
    if any(finding.severity in failing for finding in found):
        raise typer.Exit(FAILURE)
    return None


def _show(format: str, module: Module, found: list[Finding], count: int) -> None:
    if format == "json":
        show_json(report.as_json(found))
    elif format == "sarif":
        show_json(report.as_sarif(found, module.folder))
    elif format == "github":
        report.show_github(found, module.folder)
    else:
        report.show_text(module, found)
        told = [finding for finding in found if finding.severity != Severity.NOTICE]
        say(report.summary(told, count), "red" if told else "green")
        if any(finding.edit for finding in found):
            say_next("cm check --fix", "shows what it can mend")
        elif told:
            say_next(f"cm check --explain {told[0].code}", "says why")


def _mend(module: Module, found: list[Finding], yes: bool) -> bool:
    """Show the safe mends, and write them where somebody says so."""
    files = mended(module, found)
    for file in files:
        typer.echo("\n".join(map(printable, file.diff())))
    if not files:
        say("There is nothing that cm can fix by itself")
        return False
    if not yes and not sys.stdin.isatty():
        say_next("cm check --fix --yes", "writes it")
        return False
    if not yes and not typer.confirm("Write this?", default=False, err=True):
        return False
    for file in files:
        file.write(module)
    return True


def _explain(code: str) -> None:
    known = {each.code: each for each in checks()} | {each.name: each for each in checks()}
    if code not in known:
        codes = [each.code for each in checks()]
        raise CmError(f"There is no check {code}", fix=near_miss(code, codes), exit_code=USAGE)
    typer.echo(pages.page(known[code]), nl=False)
