"""Runs the checks of a module, and leaves out what its owner has switched off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from foundry_cm.checks.finding import Finding
from foundry_cm.checks.ignores import ignores
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Check, checks
from foundry_cm.errors import near_miss
from foundry_cm.module.places import Place


def run(folder: Path, *, live: bool = False) -> list[Finding]:
    """Every finding in a module, by file and line; `live` also runs it under the local Foundry.

    Raises `CmError` for settings that are wrong.
    """
    return run_checks(Module.read(folder), [c for c in checks() if live or not c.live])


def run_checks(module: Module, wanted: Iterable[Check]) -> list[Finding]:
    """What these checks find, less what a comment or a setting of the module switches off."""
    off = _switched_off(module)
    on = [check for check in wanted if check.code not in off]
    # The last one looks for comments that switch off nothing, so it wants to know all else.
    for check in sorted(on, key=lambda check: check.code == LAST):
        module.found.extend(
            replace(
                finding,
                code=check.code,
                name=check.name,
                severity=finding.severity or check.severity,
            )
            for finding in check.run(module)
        )
    comments = list(ignores(module))
    left = [f for f in module.found if not any(comment.is_for(f) for comment in comments)]
    return sorted(set(left), key=lambda f: (f.path, f.line, f.code, f.message))


LAST = "CM003"


def _switched_off(module: Module) -> set[str]:
    known = {check.code for check in checks()}
    for code in module.settings.ignore:
        if code not in known:
            place = Place(
                module.folder / "pyproject.toml", ("tool", "foundry-cm", "check", "ignore")
            )
            raise place.error(f"ignore: there is no check {code}", near_miss(code, known))
    return set(module.settings.ignore)
