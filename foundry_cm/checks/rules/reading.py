"""What keeps the other checks from looking, and what is wrong with the comments that stop them."""

from __future__ import annotations

from collections.abc import Iterator

from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.ignores import ignores
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check


@check(
    "CM001",
    "not-python",
    bad=Bad(
        "src/app.py:2", {"src/app.py": "def area(width: float) -> float:\n    return width *\n"}
    ),
    good={"src/app.py": "def area(width: float) -> float:\n    return width * width\n"},
)
def not_python(module: Module) -> Iterator[Finding]:
    """A file of the module that Python cannot read.

    Nothing in it is checked, and the module ends before it declares a function.
    """
    for source in module.python.values():
        if source.error:
            yield Finding(
                f"This is not Python: {source.error.msg}",
                source.path,
                "Mend the line, or the one before it.",
                source.error.lineno or 1,
            )


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
