"""The answers file: Copier writes it, and the next update believes what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from foundry_cm.checks.finding import Finding
from foundry_cm.checks.module import ANSWERS, Module
from foundry_cm.checks.registry import check

_UNDO = f"git log -p -- {ANSWERS} has the text that Copier wrote; change an answer with copier update -d name=value."


@check("CM606", "answers-edited", proof="tests/checks/test_answers.py")
def edited_answers(module: Module) -> Iterator[Finding]:
    """Answers that Copier cannot have written: an update would compare with a module that never was."""
    if module.answers_text and not module.answers:
        yield Finding(f"{ANSWERS} holds no answers that Copier can read", ANSWERS, _UNDO)
    rendering = module.rendering
    if rendering is None:
        return
    if rendering.refusal:
        asked = re.search(r"'(\w+)'", rendering.refusal)
        line = module.line_of(asked[1]) if asked else 1
        yield Finding(f"The template refuses an answer. {rendering.refusal}", ANSWERS, _UNDO, line)
        return
    written = {key for key in rendering.answers if not key.startswith("_")}
    for name in sorted({key for key in module.answers if not key.startswith("_")} ^ written):
        what = "is missing here" if name in written else "is no answer of this module"
        yield Finding(f"{name} {what}", ANSWERS, _UNDO, module.line_of(name))


@check("CM605", "credential", proof="tests/checks/test_answers.py")
def credential(module: Module) -> Iterator[Finding]:
    """A token in the template's address, which everyone sees who sees the repository."""
    address = str(module.answers.get("_src_path", ""))
    clean = re.sub(r"^((?:git\+)?https?://)[^/@]*@", r"\1", address)
    if clean != address:
        yield Finding(
            "The template's address has a credential in it, for everyone who reads this repository",
            ANSWERS,
            f"Revoke it. Then write the address without it: {moved(module, clean)}",
            module.line_of("_src_path"),
        )


@check("CM609", "template-path", proof="tests/checks/test_answers.py")
def template_path(module: Module) -> Iterator[Finding]:
    """A path to the template that was written from another folder, where `copier copy` was started.

    `copier update` reads it from this folder, finds nothing, and ends in a traceback.
    """
    address = str(module.answers.get("_src_path", ""))
    if (
        not address
        or ":" in address
        or address.startswith("~")
        or (module.folder / address).is_dir()
    ):
        return
    if not PurePosixPath(address).is_absolute():
        yield Finding(
            f"There is no template at {address}, seen from this folder: copier update ends in a traceback",
            ANSWERS,
            f"Write its whole path, or the path from here: {moved(module, 'PATH')}",
            module.line_of("_src_path"),
        )


def moved(module: Module, address: str) -> str:
    """The command that writes another address of the template, and nothing else."""
    return (
        f"copier copy --defaults --overwrite --vcs-ref {module.answers.get('_commit')} "
        f"--exclude '*' --exclude '!/{ANSWERS}' {address} ."
    )
