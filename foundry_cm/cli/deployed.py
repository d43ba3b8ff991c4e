"""What the verbs do alike that call deployed functions: they say where, and ask first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from foundry_cm.cli.console import milliseconds, say
from foundry_cm.enrollment.functions import Deployed
from foundry_cm.enrollment.person import Person
from foundry_cm.errors import FAILURE, USAGE, CmError, printable
from foundry_cm.module.project import Project


def reach(project: Project, functions: Sequence[str], yes: bool) -> Deployed:
    """The deployed functions, once somebody has agreed that they are called.

    Raises `CmError` where the shell names no Foundry, and where nobody can be asked.
    """
    deployed = Deployed(Person.at_this_shell("--deployed"), project.api_names)
    names = ", ".join(deployed.api_name(each) for each in functions)
    where = f"{names} on {deployed.person.host}"
    say(f"This calls the deployed function {where}, which may write there", "bold yellow")
    if yes:
        return deployed
    if not sys.stdin.isatty():
        raise CmError(
            f"There is no terminal to confirm the call of {where}",
            fix="Pass --yes to call it without a question.",
            code="NotConfirmed",
            exit_code=USAGE,
        )
    if not typer.confirm(printable(f"Call {where}?"), default=False, err=True):
        raise typer.Exit(FAILURE)
    return deployed


def call_deployed(
    project: Project, function: str, event: Any, timeout: float | None, yes: bool
) -> Any:
    """The result of the deployed function; raises `CmError`."""
    deployed = reach(project, [function], yes)
    answer = deployed.call(function, event, project.timeout_seconds if timeout is None else timeout)
    say(f"{function} answered in {milliseconds(answer.seconds)}", "green")
    return answer.value


def check_user(user: str, deployed: bool) -> None:
    """Raise `CmError` for a user that no header can carry, and for one whom Foundry itself names."""
    if deployed:
        raise CmError(
            "--as does not work with --deployed: Foundry takes the user from your token",
            fix="Leave it out.",
            exit_code=USAGE,
        )
    if not user or not user.isprintable():
        raise CmError("--as needs the id of a user", fix="Such as: --as alice", exit_code=USAGE)
