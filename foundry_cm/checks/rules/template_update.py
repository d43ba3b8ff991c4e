"""What an update left to do. Copier ends with code 0 all the same."""

from __future__ import annotations

from collections.abc import Iterator

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import ANSWERS, Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.module.git import told

BACK = (
    "git reset, then git checkout ., then git clean -di for files that it added, then update again"
)


_CONFLICT = """\
one
<<<<<<< before updating
two
=======
three
>>>>>>> after updating
"""


@check(
    "CM601",
    "conflict-marker",
    bad=Bad("README.md:2", {"README.md": _CONFLICT}),
    good={"README.md": "one\ntwo\n"},
)
def conflict_markers(module: Module) -> Iterator[Finding]:
    """Conflict markers in a file: an update changed lines that you had changed too.

    Copier writes both versions and ends with code 0 all the same.
    """
    for file in module.files:
        for line in _markers(module, file):
            yield Finding(
                "An update left a conflict here",
                file,
                "Keep what is right of both sides, and delete the lines <<<<<<<, ======= and >>>>>>>.",
                line,
            )


@check(
    "CM602",
    "rejected-hunk",
    bad=Bad("Dockerfile.rej:1", {"Dockerfile.rej": "@@ -1 +1 @@\n"}),
    good={"Dockerfile": "FROM python:3.13-slim\n"},
)
def rejected_hunks(module: Module) -> Iterator[Finding]:
    """Files with changes that `copier update --conflict rej` could not apply."""
    for file in module.files:
        if file.endswith(".rej"):
            yield Finding(
                f"An update could not apply a change to {file.removesuffix('.rej')}",
                file,
                "Make the change by hand where it still applies, and delete this file.",
            )


@check("CM603", "unresolved-file", proof="tests/checks/test_update_left.py")
def unresolved_files(module: Module) -> Iterator[Finding]:
    """Files without markers that git still holds for conflicts: it refuses every commit."""
    listed = told(module.folder, "ls-files", "--unmerged", "-z") or ""
    for file in sorted({entry.partition("\t")[2] for entry in listed.split("\0") if entry}):
        if not _markers(module, file):
            yield Finding(
                "An update is not finished: git still holds this file for a conflict",
                file,
                f"git add {file} once it is right. To go back instead: {BACK}.",
            )


@check(
    "CM604",
    "uncommitted-update",
    severity=Severity.NOTICE,
    proof="tests/checks/test_update_left.py",
)
def uncommitted_update(module: Module) -> Iterator[Finding]:
    """An update that is not committed: the way back, and the files that it dropped."""
    if not _changed(module, "--", ANSWERS):
        return
    before = told(module.folder, "show", f"HEAD:./{ANSWERS}") or ""
    commit = f"_commit: {module.answers.get('_commit')}"
    if commit in before.splitlines() and _changed(module) == [ANSWERS]:
        yield Finding(
            f"{ANSWERS} is changed, and nothing else: an edit by hand misleads the next update",
            ANSWERS,
            f"git checkout {ANSWERS}, then change an answer with copier update -d name=value.",
        )
        return
    yield Finding(
        "An update is not committed yet",
        ANSWERS,
        f"Look at git diff, and commit. To go back instead, or where it broke off: {BACK}.",
    )
    for file in _changed(module, "--diff-filter=D"):
        yield Finding(
            f"The update dropped {file}, with whatever was yours in it",
            file,
            f"git show HEAD:./{file} has it.",
        )


def _markers(module: Module, file: str) -> list[int]:
    """The lines on which a conflict begins."""
    if "\n>>>>>>> " not in (module.text(file) or ""):
        return []
    return [n for n, line in enumerate(module.lines(file), 1) if line.startswith("<<<<<<< ")]


def _changed(module: Module, *words: str) -> list[str]:
    """Files that differ from the last commit."""
    listed = told(module.folder, "diff", "--name-only", "--relative", "-z", "HEAD", *words) or ""
    return [name for name in listed.split("\0") if name]
