"""Why a module's process ended, as far as its output tells: what is not sure is not said."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foundry_cm.errors import CmError
from foundry_cm.module import code, tracebacks

_PYTHON = re.compile(r"pythonw?(\d+(\.\d+)?)?(\.exe)?")
# How `multiprocessing` begins the traceback of a worker.
ORPHAN = re.compile(r"Process \w+-\d+:")
_LAST_LINES = 5
# A line of a log that is no warning, behind its time and in brackets or as JSON where it is so written.
_NOTE = re.compile(r"""[\d\s:.,TZ+\-\[(]*(DEBUG|INFO)\b|\{.*"level": "(DEBUG|INFO)\"""")
# How the template's log begins its last word, which needs no lines above it.
_LAST_WORD = re.compile(r"[\d-]{10} [\d:,]{12} CRITICAL [\w.]+: ")
_START = 'end the file with: if __name__ == "__main__": start_compute_module()'
# By SIGKILL: a process, and a container as its engine reports it.
_KILLED = (-9, 128 + 9)
_CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"}


def ending(lines: Sequence[str], command: Sequence[str], folder: Path) -> tracebacks.Failure | None:
    """The failure that ended the program which a command runs; None for one of another program."""
    failure = tracebacks.of_end("\n".join(lines))
    scripts = [folder / word for word in command if word.endswith(".py")]
    if failure and failure.entry and scripts:
        entry = (folder / failure.entry).resolve()
        if entry not in [script.resolve() for script in scripts]:
            return None
    return failure and replace(failure, fix=known_mend(failure))


def death(
    status: int | None,
    lines: Sequence[str],
    command: Sequence[str],
    folder: Path,
    *,
    declared: bool,
) -> CmError:
    """The error of a process that ended with a status; `declared`: it had declared its functions."""
    lines = _of_the_program(lines)
    how = f"exited with code {status}"
    if status is not None and status < 0:
        how = f"was killed by {signal_name(-status)}"
    if status in _KILLED:
        how += ", as a system does where memory runs out"
    what = f"The module {how}" + ("" if declared else " before it declared its functions")
    if status is not None and status >= 0 and (failure := ending(lines, command, folder)):
        return CmError(
            f"{what}: {failure.summary}",
            where=failure.where,
            fix=failure.fix,
            details=failure.trimmed,
            code="ModuleDied",
        )
    if status is not None and signal_name(-status) in _CRASHES:
        frames = tracebacks.of_crash("\n".join(lines))
        if frames:
            return CmError(
                what,
                where=frames[-1].where,
                details=tracebacks.trimmed(frames),
                code="ModuleDied",
            )
    last = last_lines(lines)
    if last and (word := _LAST_WORD.match(last[-1])):
        last = [last[-1][word.end() :]]
    reason, before = _reason(last)
    nothing = ", and printed nothing" if status in _KILLED else " and printed nothing"
    return CmError(
        what + (f": {reason}" if reason else "" if last else nothing),
        details=shown(before),
        # Only a program that came to its end without a failure lacks the line.
        fix="Its last line must start the SDK: start_compute_module() or the template's start()."
        if not declared and status == 0 and is_python(command)
        else None,
        code="ModuleDied",
    )


def known_mend(failure: tracebacks.Failure) -> str | None:
    """How to mend an exception whose cause is known for certain; None for all others."""
    what = failure.summary
    if "can't fork at interpreter shutdown" in what:
        return f"The SDK starts in an exit hook, where this Python cannot fork: {_START}"
    if what.rpartition(".")[2].startswith("BdbQuit"):
        return (
            "breakpoint() needs a terminal: --pdb gives the module this one, --debug lets an editor "
            "attach. A handler in the SDK's pool of processes has neither: "
            "start_compute_module(ConcurrencyType.THREAD_POOL)"
        )
    if "name '__file__' is not defined" in what:
        return (
            "The SDK starts in an exit hook, and Python has taken __file__ away by then, as it will "
            f"in Foundry: {_START}"
        )
    if (failure.raised_in or "").endswith("function_schema_parser.py"):
        return (
            "The SDK takes no such type in a function: cm check names the field, and what to write."
        )
    if "Scratch cache is not enabled for this compute module" in what:
        return (
            "In Foundry the feature has to be on for the module; here it is with scratch = true, under "
            "[tool.foundry-cm] in pyproject.toml."
        )
    file = (failure.where or "").rpartition(":")[0]
    # The text of an annotation is evaluated as "<string>".
    if (
        failure.raised_in == "<string>"
        and what.startswith("NameError: ")
        and file
        and code.postpones_annotations(Path.cwd() / file)
    ):
        return (
            f"Take `from __future__ import annotations` out of {file}: the SDK reads the types as it "
            "registers a function, and they are only text then."
        )
    return None


def is_python(command: Sequence[str]) -> bool:
    """Whether a command runs Python, by itself or through another program."""
    return any(_PYTHON.fullmatch(Path(word).name) or word.endswith(".py") for word in command)


def _of_the_program(lines: Sequence[str]) -> Sequence[str]:
    """The lines without those of workers that lost their pool when the program ended."""
    begins = (number for number, line in enumerate(lines) if ORPHAN.fullmatch(line))
    for number in begins:
        if any(line.startswith("BrokenPipeError: ") for line in lines[number:]):
            return lines[:number]
    return lines


def last_lines(lines: Sequence[str]) -> list[str]:
    """The last lines that say anything."""
    return [line for line in lines if line.strip()][-_LAST_LINES:]


def _reason(last: list[str]) -> tuple[str | None, list[str]]:
    """What may be the reason among the last lines, and the others: no program ends with a mere note of it."""
    if not last or _NOTE.match(last[-1]):
        return None, last
    return last[-1], last[:-1]


def shown(lines: Sequence[str]) -> str | None:
    """Lines of a module's output as the details of an error."""
    return "\n".join(f"  {line}" for line in lines) or None


def signal_name(number: int) -> str:
    """The name of a signal, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
