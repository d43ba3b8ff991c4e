"""What keeps the other checks from looking, and what is wrong with the comments that stop them."""

from __future__ import annotations

from collections.abc import Iterator

from foundry_cm.checks import pythons
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.ignores import ignores
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.source import Source

_IMAGE = {"Dockerfile": "FROM python:3.10-slim\n"}


@check(
    "CM001",
    "not-python",
    bad=(
        Bad(
            "src/app.py:2",
            {"src/app.py": "def area(width: float) -> float:\n    return width *\n"},
        ),
        Bad("src/app.py:3", {**_IMAGE, "src/app.py": "try:\n    area = 1\nexcept* OSError: pass\n"}),
        Bad("src/app.py:1", {"src/app.py": "area = 1\n\0\n"}),
        Bad("src/app.py:1", {"src/app.py": "# coding: no-such-code\narea = 1\n"}),
        # Foundry's Python may read it: it is newer than the one that cm runs on.
        Bad("src/app.py:1", {".python-version": "3.99\n", "src/app.py": "when it rains:\n    pass\n"}),
    ),
    good=(
        {"src/app.py": "def area(width: float) -> float:\n    return width * width\n"},
        {**_IMAGE, "src/app.py": "match 1:\n    case _:\n        pass\n"},
        {"src/app.py": "# coding: latin-1\narea = 1\n"},
    ),
)  # fmt: skip
def not_python(module: Module) -> Iterator[Finding]:
    """A file of the module that its Python cannot read.

    Nothing in it is checked, and the module ends before it declares a function. The Python is the one
    of the image, and without an image that of `.python-version` or `requires-python`. Where it is newer
    than the Python that `cm` runs on, the file may be right: it is a warning that nobody has read it.
    """
    python = pythons.version(module)
    for source in module.python.values():
        if found := _unread(source, python):
            message, fix, error, severity = found
            yield Finding(message, source.path, fix, error.lineno or 1, severity)


def _unread(
    source: Source, python: pythons.Version | None
) -> tuple[str, str, SyntaxError, Severity | None] | None:
    named = pythons.shown(python or pythons.RUNNING)
    if source.broken and source.error:
        fix = "Save the file as UTF-8."
        return f"This is not Python: {source.broken}", fix, source.error, None
    if source.error and python and python > pythons.RUNNING:
        message = f"This was not checked: the module runs on Python {named}, and cm on {pythons.shown(pythons.RUNNING)}"
        fix = f"Install foundry-cm with Python {named}, and check again."
        return message, fix, source.error, Severity.WARNING
    if source.error:
        fix = "Mend the line, or the one before it."
        return f"This is not Python: {source.error.msg}", fix, source.error, None
    if error := pythons.refusal(source, python):
        fix = "Write it as that version does, or take a base with a newer Python."
        return f"Python {named} cannot read this: {error.msg}", fix, error, None
    return None


@check(
    "CM002",
    "ignore-without-reason",
    severity=Severity.WARNING,
    bad=Bad(
        "src/app.py:1 src/app.py:2",
        {
            "src/app.py": "print('one')  # cm: ignore[CM001]\nprint('two')  # cm: ignore[CM999] why\n"
        },
    ),
    good={"src/app.py": "print('# cm: ignore[CM001]')\n"},
)
def without_reason(module: Module) -> Iterator[Finding]:
    """A comment that switches a check off and does not say why.

    It switches off nothing until it has a reason: the next reader cannot tell whether the finding
    was understood or only silenced.
    """
    from foundry_cm.checks.registry import checks

    known = {check.code for check in checks()}
    for comment in ignores(module):
        for code in comment.codes:
            if code not in known:
                yield Finding(
                    f"There is no check {code}",
                    comment.path,
                    "Write a code that cm check prints, such as # cm: ignore[CM204] and the reason.",
                    comment.line,
                )
        if not comment.reason:
            yield Finding(
                "This comment switches off a check and gives no reason",
                comment.path,
                "Write the reason after the bracket.",
                comment.line,
            )


@check(
    "CM003",
    "ignore-of-nothing",
    severity=Severity.WARNING,
    bad=Bad("src/app.py:1", {"src/app.py": "print(1)  # cm: ignore[CM001] not Python 2\n"}),
    good={"src/app.py": "print(1)\n"},
)
def of_nothing(module: Module) -> Iterator[Finding]:
    """A comment that switches off a finding which is not there any more.

    Left in place, it would hide the next fault on that line.
    """
    from foundry_cm.checks.registry import checks

    static = {check.code for check in checks() if not check.live}
    for comment in ignores(module):
        used = {finding.code for finding in module.found if comment.is_for(finding)}
        unused = [code for code in comment.codes if code in static and code not in used]
        if comment.reason and unused:
            whole = module.lines(comment.path)[comment.line - 1]
            alone = whole.lstrip().startswith("#") and len(unused) == len(comment.codes)
            yield Finding(
                f"{', '.join(unused)} finds nothing here",
                comment.path,
                "Delete the comment.",
                comment.line,
                edit=(Edit(comment.path, comment.line, comment.line + 1),) if alone else (),
            )
