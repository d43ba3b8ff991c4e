"""The Python that runs a module, as its files say it, and what that Python cannot read."""

from __future__ import annotations

import ast
import re
import sys

from foundry_cm.checks.container import containers
from foundry_cm.checks.module import Module
from foundry_cm.checks.source import Source

Version = tuple[int, int]

RUNNING: Version = sys.version_info[:2]
_BASE = re.compile(r"(?:^|/)python:(\d+)\.(\d+)|(?:^|[/:-])python(\d+)\.(\d+)(?=-|$)")
_LEAST = re.compile(r"(?:>=|~=|==|\^)\s*(\d+)\.(\d+)")
# It reads what older versions of Python cannot, and says so only from this one on.
_OLDEST_GRAMMAR: Version = (3, 7)


def version(module: Module) -> Version | None:
    """The Python of a module: of its image, or what its files ask for at least; None where none says it."""
    return module.once(_version)


def _version(module: Module) -> Version | None:
    bases = [container.last.root.base for container in containers(module)]
    found = [match for base in bases if (match := _BASE.search(base))]
    pinned = re.match(r"\s*(\d+)\.(\d+)", module.text(".python-version") or "")
    project = module.pyproject.get("project")
    asked = project.get("requires-python") if isinstance(project, dict) else None
    found += [match for match in (pinned, _LEAST.search(str(asked))) if match]
    numbers = [[int(part) for part in match.groups() if part] for match in found]
    return (numbers[0][0], numbers[0][1]) if numbers else None


def refusal(source: Source, python: Version | None) -> SyntaxError | None:
    """Why the Python of a module, older than the one that runs here, cannot read a file."""
    if not python or not _OLDEST_GRAMMAR <= python < RUNNING:
        return None
    try:
        ast.parse(source.text, source.path, feature_version=python)
    except SyntaxError as error:
        return error
    return None


def shown(python: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, python))
