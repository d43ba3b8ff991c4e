"""What shows only when the module runs: `cm check --live` starts it under the local Foundry."""

from __future__ import annotations

from collections.abc import Iterator

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Run, check
from foundry_cm.module.resources import FILE

_PROOF = "tests/checks/test_live.py"


def _live(code: str, name: str, text: str, severity: Severity = Severity.ERROR) -> Run:
    """A check that tells what the trial found under its code."""

    def run(module: Module) -> Iterator[Finding]:
        if module.text(FILE.as_posix()) is not None:
            return  # a pipeline answers no calls: CM510 says so
        # The servers are loaded only here: the other checks need none.
        from foundry_cm.checks import trial

        yield from trial.findings(module, code)

    run.__doc__, run.__module__ = text, __name__
    return check(code, name, severity=severity, proof=_PROOF, live=True)(run)


_live(
    "CM500",
    "does-not-start",
    "A module that does not start, or dies before it asks for work.",
)
_live(
    "CM501",
    "functions-posted",
    """Functions in the files and functions in the schema that the module posts do not agree.

    Foundry offers what is posted: a function that is missing there cannot be called.""",
)
_live(
    "CM502",
    "sample-event",
    """A function that does not answer its sample event.

    The event is `events/FUNCTION.json`, or one made from the types of the function. An extreme event
    may be refused, but the module must survive it.""",
)
_live(
    "CM503",
    "result-declared",
    "A result that is no JSON, or is not of the type that the function declares.",
)
_live(
    "CM504",
    "wrong-event",
    """A wrong event that harms more than its own call.

    Callers do send such events. The module must answer them with a failure, and go on.""",
)
_live(
    "CM505",
    "traceback-to-caller",
    """A handler whose exception reaches the caller with its traceback.

    The SDK posts it as an ordinary result: file names and values of the module get into Workshop.""",
    Severity.WARNING,
)
_live(
    "CM506",
    "over-budget",
    """A start or a call that takes longer than `cold-start-seconds` or `p50-ms` allow.

    Both are set in `[tool.foundry-cm.check]` of `pyproject.toml`; without them nothing is measured.""",
)
_live(
    "CM507",
    "replicas-differ",
    """Two replicas that give different answers to one event.

    Foundry sends a call to any replica. What one of them has kept from earlier calls, the others lack.""",
    Severity.WARNING,
)
_live(
    "CM508",
    "does-not-stop",
    """A module that does not end within `stop-seconds` (10) of SIGTERM.

    Every stop and every upgrade then waits until Foundry kills the container.""",
)
_live(
    "CM509",
    "does-not-come-back",
    """A module that is killed and does not answer again after a restart.

    It has left something behind that it stumbles over, such as a lock file.""",
)


_live(
    "CM511",
    "read-only-root",
    """A module that answers, and no longer does where only its home and `/tmp` can be written to.

    The files of an image belong to root, and the module runs as another user: what it writes beside
    its code fails in Foundry. With `--container` the root of the image is made read-only; without, that
    of a process on Linux, which takes root.""",
)

_live(
    "CM512",
    "call-lost-at-stop",
    """A call that runs when SIGTERM comes, and that nobody answers any more.

    Foundry stops a replica at each upgrade and each time it scales down. A handler of SIGTERM that
    only exits throws away what runs at that moment; its caller waits for a time-out.""",
    Severity.WARNING,
)


@check("CM510", "not-tried", severity=Severity.NOTICE, proof=_PROOF, live=True)
def not_tried(module: Module) -> Iterator[Finding]:
    """What the live checks cannot try here, and why."""
    if module.text(FILE.as_posix()) is not None:
        yield Finding(
            "skipped: a pipeline answers no calls", FILE.as_posix(), "Try it with: cm run"
        )
        return
    from foundry_cm.checks import trial

    yield from trial.findings(module, "CM510")
    if reason := trial.untried(module):
        entry = module.entry.path if module.entry else "."
        message = f"skipped: the module was not tried on a read-only root, since {reason}"
        yield Finding(message, entry, "Try its image: cm check --live --container IMAGE")
