"""The files of the template that a module has: they are compared with what the template renders."""

from __future__ import annotations

from collections.abc import Iterator

from foundry_cm.checks import carried
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import ANSWERS, Module
from foundry_cm.checks.registry import check


@check("CM607", "template-file", proof="tests/checks/test_template_files.py")
def edited_files(module: Module) -> Iterator[Finding]:
    """Files that an update replaces and that were edited, deleted or added."""
    rendering = module.rendering
    if rendering is None or rendering.refusal:
        return
    ours = {file for file in rendering.files if rendering.owns(file)}
    present = {file for file in module.files if rendering.owns(file)}
    for file in sorted(ours & present):
        if _lines((module.folder / file).read_bytes()) != _lines(rendering.files[file]):
            yours = (
                "requirements.txt" if file.endswith(".txt") else "src/app.py or a file beside it"
            )
            yield Finding(
                f"{file} belongs to the template and was edited",
                file,
                f"Do in {yours} what the edit wanted; git log -p -- {file} has the text as it was.",
            )
    for file in sorted(ours - present):
        yield Finding(
            f"{file} belongs to the template and is missing",
            file,
            f"git log --diff-filter=D -- {file} names the commit that deleted it, "
            f"and git checkout COMMIT^ -- {file} brings it back.",
        )
    for file in sorted(present - ours):
        yield Finding(
            f"{file} lies among the template's files and is not one of them",
            file,
            "Move it: an update may put a file of its own there.",
        )


@check(
    "CM608",
    "not-compared",
    severity=Severity.NOTICE,
    proof="tests/checks/test_template_files.py",
)
def not_compared(module: Module) -> Iterator[Finding]:
    """Says so where the template that made the module is not at hand."""
    if not module.answers or module.template:
        return
    commit = module.answers.get("_commit")
    found = carried.find()
    if commit is None:
        because, fix = (
            "the module was made from a folder that is no git repository",
            "Make it from a template in git, which copier update needs as well.",
        )
    else:
        tool = found.version if found else "of no known commit"
        because = f"this foundry-cm is {tool}, the module is {commit}"
        fix = "pip uninstall --yes foundry-cm, then pip install -r requirements-dev.txt."
    yield Finding(
        f"Edits in the template's files were not looked for: {because}",
        ANSWERS,
        fix,
        module.line_of("_commit"),
    )


def _lines(content: bytes) -> list[bytes]:
    """The content without its line ends, which git may change on the way."""
    return content.splitlines()
