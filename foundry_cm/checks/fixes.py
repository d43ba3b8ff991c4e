"""Mends that cannot be wrong: the edits of findings, as new text of the files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from foundry_cm.checks.finding import Edit, Finding
from foundry_cm.checks.module import Module
from foundry_cm.module.files import check_no_link, replace_text, text_lines


@dataclass(frozen=True)
class Mended:
    """A file before and after its mends."""

    path: str
    before: str
    after: str

    def diff(self) -> list[str]:
        """The change as `git diff` shows it."""
        old, new = map(text_lines, (self.before, self.after))
        return list(difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}", lineterm=""))

    def write(self, module: Module) -> None:
        """Replace the file; raises `CmError` where it is reached by a link."""
        file = module.folder / self.path
        check_no_link(module.folder, file)
        mode = file.stat().st_mode
        replace_text(file, self.after)
        file.chmod(mode)


def mended(module: Module, findings: Iterable[Finding]) -> list[Mended]:
    """The files that change by the edits of findings; of two that touch the same lines, the first."""
    edits: dict[str, list[Edit]] = {}
    for finding in findings:
        for edit in finding.edit:
            taken = edits.setdefault(edit.path, [])
            if edit not in taken and not any(_overlap(edit, other) for other in taken):
                taken.append(edit)
    found = []
    for path, wanted in sorted(edits.items()):
        before = module.exact_text(path)
        if before is None:
            continue
        end = "\r\n" if "\r\n" in before else "\n"
        lines = text_lines(before)
        for edit in sorted(wanted, key=lambda edit: edit.first, reverse=True):
            lines[edit.first - 1 : edit.end - 1] = edit.lines
        found.append(Mended(path, before, end.join(lines) + end))
    return found


def _overlap(one: Edit, other: Edit) -> bool:
    return one.first < max(other.end, other.first + 1) and other.first < max(one.end, one.first + 1)
