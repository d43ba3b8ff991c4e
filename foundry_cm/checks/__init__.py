"""Checks of a module's files: each is a function from the folder to what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.checks import ownership
from foundry_cm.checks.finding import Finding


@dataclass(frozen=True)
class Check:
    """A named check."""

    name: str
    run: Callable[[Path], Iterator[Finding]]


CHECKS = [
    Check("conflict-marker", ownership.conflict_markers),
    Check("rejected-hunk", ownership.rejected_hunks),
    Check("template-file-edited", ownership.edited_template_files),
    Check("answers-edited", ownership.edited_answers),
]


def run(folder: Path) -> list[tuple[str, Finding]]:
    """Run every check on a module; gives the name of the check with each finding."""
    return [(check.name, finding) for check in CHECKS for finding in check.run(folder)]


__all__ = ["CHECKS", "Check", "Finding", "run"]
