"""The names of a module's functions, as far as they are known without starting it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundry_cm.checks.module import Module
from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.module.code import Program
from foundry_cm.module.project import Project


def known_functions(project: Project, command: Sequence[str] = ()) -> set[str]:
    """The functions that the code registers, in Python; none where there is no code to be found."""
    try:
        decorated = Program(project.folder, project.command(command)).registered()
    except CmError:
        return set()
    # It sees those that are added by a call as well, and methods.
    handlers = Module(project.folder, command=tuple(command)).program.handlers
    return decorated | {handler.node.name for handler in handlers}


def with_events(project: Project) -> set[str]:
    """The functions that have a sample event."""
    return {path.stem for path in (project.folder / "events").glob("*.json")}


def unknown(function: str, names: set[str]) -> CmError:
    """The error of a call to a function that is not among the names."""
    return CmError(
        f'The module has no function "{function}"',
        fix=near_miss(function, names),
        code="UnknownFunction",
        exit_code=USAGE,
    )


def complete(ctx: Any, incomplete: str) -> list[str]:
    """What the shell may offer for a name that somebody begins to type; the module is not started."""
    try:
        project = Project.read(Path(ctx.params.get("folder") or Path()))
    except CmError:
        return []
    names = known_functions(project) | with_events(project)
    return sorted(name for name in names if name.startswith(incomplete))
