"""Checks of a module's files: each is a function from the module to what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.checks import answers, template_files, update
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.module import Module


@dataclass(frozen=True)
class Check:
    """A named check."""

    name: str
    run: Callable[[Module], Iterator[Finding]]


CHECKS = [
    Check("conflict-marker", update.conflict_markers),
    Check("rejected-hunk", update.rejected_hunks),
    Check("unresolved-file", update.unresolved_files),
    Check("uncommitted-update", update.uncommitted_update),
    Check("credential", answers.credential),
    Check("answers-edited", answers.edited_answers),
    Check("template-file", template_files.edited_files),
    Check("not-compared", template_files.not_compared),
]


def run(folder: Path) -> list[tuple[str, Finding]]:
    """Run every check on a module; gives the name of the check with each finding."""
    module = Module(folder)
    return [(check.name, finding) for check in CHECKS for finding in check.run(module)]


__all__ = ["CHECKS", "Check", "Finding", "Module", "run"]
