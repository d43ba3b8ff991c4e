"""A repository that holds several modules, each in a folder of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import replace

from foundry_cm.checks.container import containers
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.module import ANSWERS, Module
from foundry_cm.checks.registry import Check
from foundry_cm.checks.runner import run_checks
from foundry_cm.module.project import CODE

_STARTED = ("app.py", "main.py", "app.js", "Dockerfile", "Containerfile", ANSWERS)
# These look at all that a repository holds, whatever it is for.
_OF_THE_WHOLE = {"CM401", "CM402", "CM403"}


def run_all(module: Module, wanted: Iterable[Check]) -> list[Finding]:
    """The findings in a module, or in those that lie in folders below where it is none itself."""
    folders, chosen = modules_below(module), list(wanted)
    if not folders:
        return run_checks(module, chosen)
    whole = run_checks(module, [check for check in chosen if check.code in _OF_THE_WHOLE])
    found = [each for each in whole if not each.path.startswith(tuple(f"{f}/" for f in folders))]
    for name in folders:
        inner = Module.read(module.folder / name, container=module.container, engine=module.engine)
        found += [_below(name, each) for each in run_checks(inner, chosen)]
    return sorted(found, key=lambda each: (each.path, each.line, each.code, each.message))


def modules_below(module: Module) -> list[str]:
    """The folders of the modules in a repository that is none itself.

    Such a folder has a Dockerfile that builds it, and code.
    """
    own = [name.removeprefix("src/") for name in module.files]
    if set(own) & {*_STARTED, *(f"src/{name}" for name in _STARTED)} or any(
        name.startswith("src/") and name.endswith(".py") for name in module.files
    ):
        return []
    built = {
        container.context
        for container in containers(module)
        if container.context == posixpath.dirname(container.path)
    }
    return sorted(
        folder
        for folder in built - {""}
        if any(
            name.startswith(f"{folder}/") and name.endswith(tuple(CODE)) for name in module.files
        )
        and not any(folder.startswith(f"{other}/") for other in built - {""})
    )


def _below(folder: str, finding: Finding) -> Finding:
    return replace(
        finding,
        path=f"{folder}/{finding.path}",
        edit=tuple(replace(edit, path=f"{folder}/{edit.path}") for edit in finding.edit),
    )
