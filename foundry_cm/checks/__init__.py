"""Checks of a module's files: each is a function from the module to what it finds.

`rules/` has the checks, one file for each subject. The other files here are what they stand on.
"""

from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, Check, check, checks
from foundry_cm.checks.repository import run_all
from foundry_cm.checks.runner import run, run_checks

__all__ = [
    "Bad",
    "Check",
    "Edit",
    "Finding",
    "Module",
    "Severity",
    "check",
    "checks",
    "run",
    "run_all",
    "run_checks",
]
