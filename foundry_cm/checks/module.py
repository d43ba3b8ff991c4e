"""A module as the checks look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foundry_cm.checks import carried, rendering
from foundry_cm.checks.rendering import Rendering
from foundry_cm.module.git import git

ANSWERS = ".copier-answers.yml"
_SKIPPED = {".git", ".venv", "node_modules", "__pycache__", ".cm"}


@dataclass(frozen=True)
class Module:
    """A module's folder; what costs time is looked at once, and only when a check asks for it."""

    folder: Path

    @cached_property
    def files(self) -> list[str]:
        """Its files, as git sees them where it is a repository."""
        listed = git(self.folder, "ls-files", "-co", "--exclude-standard", "-z")
        if listed is None:
            found = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
            names = [path.as_posix() for path in found if not _SKIPPED & set(path.parts)]
        else:
            names = listed.split("\0")
        return sorted({name for name in names if name and (self.folder / name).is_file()})

    @cached_property
    def answers_text(self) -> str:
        """The text of the answers file; nothing in a module that Copier did not write."""
        file = self.folder / ANSWERS
        return file.read_text("utf-8", errors="replace") if file.is_file() else ""

    @cached_property
    def answers(self) -> dict[str, Any]:
        """The answers of the module; none where the file holds no mapping."""
        import yaml

        try:
            answers = yaml.safe_load(self.answers_text)
        except yaml.YAMLError:
            return {}
        return answers if isinstance(answers, dict) else {}

    def line_of(self, answer: str) -> int:
        """The line of an answer in the answers file."""
        lines = self.answers_text.splitlines()
        return next((n for n, line in enumerate(lines, 1) if line.startswith(f"{answer}:")), 1)

    @cached_property
    def template(self) -> carried.Carried | None:
        """The template that made it, where this foundry-cm belongs to that very commit."""
        found, commit = carried.find(), self.answers.get("_commit")
        return found if found and commit and found.is_at(str(commit)) else None

    @cached_property
    def rendering(self) -> Rendering | None:
        """What the template makes of its answers; None where the template is not at hand."""
        return rendering.of(self.template, self.answers) if self.template else None
