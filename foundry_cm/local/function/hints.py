"""Why a call failed and how to mend it: said where there is evidence for it, and not guessed.

Where there is none, the error shows what is known: the exit status, the last lines, the reader's own
frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from foundry_cm.errors import CmError
from foundry_cm.local.deaths import is_python, known_mend, last_lines, shown
from foundry_cm.module import code, datatypes, tracebacks
from foundry_cm.module.functions import Function

_UNSENDABLE = "Circular reference detected"
_NAMED = re.compile(r"Object of type (?P<type>\w+) is not JSON serializable")
_INSTEAD = {"set": "a list", "binary": "text, such as base64", "decimal": "text, or a float"}


def of_failure(
    error: CmError, name: str, function: Function | None, program: code.Program
) -> CmError:
    """A failed call of a function with the place of its handler, and a mend where the cause is known."""
    if error.code != "HandlerFailed":
        return error
    found = error.again()
    if _UNSENDABLE in error.what or _NAMED.search(error.what):
        handler = program.find(name)
        if handler and not found.where:
            found.where = f"{_relative(handler.file)}:{handler.line}"
        found.what, found.fix = _unsendable(error.what, name, function, handler)
    elif fix := known_mend(tracebacks.Failure(error.what, error.where, None)):
        found.fix = fix
    return found


def _unsendable(
    what: str, name: str, function: Function | None, handler: code.Handler | None
) -> tuple[str, str]:
    """What in a result cannot be JSON, as far as the code or the declared type tells."""
    if handler and handler.is_async:
        return (
            f"{name} is async def, and the SDK does not await it ({what})",
            "Make it def, and give what it awaits to asyncio.run().",
        )
    if handler and handler.is_generator and not handler.is_streaming:
        return (
            f"{name} gives a generator, and is not registered for streaming ({what})",
            "Return a list, or register it with @function(streaming=True).",
        )
    if function and (kind := _declared(function)):
        return (
            what,
            f"The result is declared with a {kind}, which the SDK cannot send: return plain Python "
            f"values, here {_INSTEAD[kind]}.",
        )
    if handler and (made := handler.plain_class):
        return (
            f"{name} returns a {made}, which is no dataclass ({what})",
            f"Make {made} a dataclass, or return its values in a dict.",
        )
    if match := _NAMED.search(what):
        return what, f"Return plain Python values: make one of each {match['type']} in the result."
    advice = (
        "Return plain Python values: text, numbers, booleans, None, and lists, dicts and dataclasses of "
        "them. Something in the result is none of these, or holds itself."
    )
    if handler and (package := handler.imports("numpy", "torch", "pandas")):
        advice += (
            f" The file imports {package}: .item() and .tolist() make plain values of its own."
        )
    return what, advice


def _declared(function: Function) -> str | None:
    kinds = (kind for _, kind in datatypes.flatten(function.output))
    return next((kind for kind in kinds if kind in _INSTEAD), None)


def not_ready(
    limit: float, command: Sequence[str], program: code.Program, output: Sequence[str]
) -> CmError:
    """The failure of a module that runs and asks for no work."""
    last = last_lines(output)
    never = is_python(command) and not program.uses_sdk()
    return CmError(
        f"The module did not ask for work within {limit:g} s"
        + ("; it printed last:" if last else " and printed nothing"),
        fix="No file here imports compute_modules: the last line of the module has to start the SDK, "
        "start_compute_module()."
        if never
        else None,
        details=shown(last),
        code="NotReady",
    )


def none_free(limit: float, busy: int, queued: int) -> CmError:
    """The failure of a call that no replica has taken."""
    return CmError(
        f"No replica was free within {limit:g} s: {busy} jobs run, {queued} wait",
        fix="Raise --replicas or --concurrency, or make the calls shorter.",
        code="TimedOut",
    )


def timed_out(
    name: str, limit: float, seconds: float, stack: list[tracebacks.Frame] | None, threads: int
) -> CmError:
    """The failure of a call that a replica has had for so many seconds.

    `stack`: where the handler stands; empty where none was entered, None where that is not known.
    `threads`: how many a module had of its own before the SDK made its pool of processes.
    """
    what = f"No answer within {limit:g} s, though the module is still running: "
    pool = "start_compute_module(ConcurrencyType.THREAD_POOL)"
    if stack == []:
        return CmError(
            what + f"no worker of it has begun {name}",
            fix=f"A pool of processes whose workers do not start does that: {pool}",
            code="TimedOut",
        )
    fix = None
    if threads:
        plural = "s" if threads > 1 else ""
        fix = (
            f"The module had {threads} thread{plural} of its own when the SDK forked its pool, and the "
            f"workers have none of them: if {name} needs them, as a loaded model does, {pool}"
        )
    return CmError(
        what + f"{name} has been running for {seconds:.0f} s",
        where=stack[-1].where if stack else None,
        fix=fix,
        details=tracebacks.trimmed(stack) if stack else None,
        code="TimedOut",
    )


def stuck(replica: int, name: str, call: CmError) -> CmError:
    """The failure of a replica that is full of calls which nobody waits for; `call` is the last one's."""
    return CmError(
        f"Replica {replica} is stuck in {name}: its callers have all given up",
        where=call.where,
        fix="Give the handler a timeout: Foundry may wait for up to 22 hours.",
        details=call.details,
        code="Stuck",
    )


def _relative(file: Path) -> str:
    return tracebacks.Frame(str(file), 0).where.removesuffix(":0")


def worker_died() -> CmError:
    """The failure of a call whose worker of the SDK's process pool died."""
    return CmError(
        "The worker process of the module died while it held this call",
        fix="Foundry would wait for the answer for up to 22 hours: start with "
        "ConcurrencyType.THREAD_POOL, so that the whole module dies and restarts.",
        code="WorkerDied",
    )
