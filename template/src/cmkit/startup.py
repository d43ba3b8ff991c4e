"""What every module does first: it sets up the log, loads its assets, and looks for a second cmkit."""

import logging
import os
import sys
import time
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from compute_modules import startup as sdk

from .logs import set_up

# The folder of app.py: src/ on a laptop, /app in the image.
SRC = Path(__file__).resolve().parent.parent
# Foundry's static inference imports every file at build time to read the types of functions.
INFERENCE = sdk.DISABLE_STARTUP
# It prints them to standard output, so the log goes elsewhere.
set_up(stream=sys.stderr if INFERENCE else sys.stdout)
log = logging.getLogger(__name__)

IMPORTED = time.perf_counter()
# Seconds of each step of the start, in the order in which they are logged.
STEPS = {"weights": 0.0, "load": 0.0, "warm-up": 0.0}

Asset = TypeVar("Asset")


class NoTerminal(BdbQuit):
    """A breakpoint() without a terminal: it is not the fault of the event or the row."""


def _no_terminal(*_args: object, **_options: object) -> NoReturn:
    raise NoTerminal(
        "breakpoint() was reached, and this process has no terminal. On a laptop, cm serve and cm run "
        "give it one with --pdb, and let an editor attach with --debug"
    )


# A debugger that is attached has a hook of its own.
_own = sys.breakpointhook is not sys.__breakpointhook__ or "PYTHONBREAKPOINT" in os.environ
if not (_own or sys.stdin and sys.stdin.isatty()):
    sys.breakpointhook = _no_terminal


def load(loader: Callable[[], Asset]) -> Asset:
    """Run `loader` once, while the container starts, and log that it runs and how long it took.

    When Foundry imports app.py only to read its types, nothing is loaded and the asset is None.
    """
    if INFERENCE:
        return cast(Asset, None)
    name = _name(loader)
    log.info("Loading: %s", name)
    with counted("load", name):
        return loader()


@contextmanager
def counted(step: str, shown: str) -> Iterator[None]:
    """Log how long a part of the start takes, and add it to a step, without the parts inside it."""
    began, before = time.perf_counter(), sum(STEPS.values())
    yield
    took = time.perf_counter() - began
    log.info("%s took %.2f s", shown, took)
    STEPS[step] = STEPS.get(step, 0.0) + took - (sum(STEPS.values()) - before)


def log_cold_start() -> None:
    """Log the start in one line, which cm reads as well: `Cold start: import 0.31 s, ready 0.31 s`.

    `ready` is the whole start. What is in no step counts as import: Python, libraries, app.py.
    """
    steps = {step: took for step, took in STEPS.items() if took and step != "import"}
    ready = _seconds_of_process()
    shown = {"import": max(0.0, ready - sum(steps.values())), **steps, "ready": ready}
    log.info("Cold start: %s", ", ".join(f"{step} {took:.2f} s" for step, took in shown.items()))


def _seconds_of_process() -> float:
    """The age of this process, or the time since this file was imported if the system does not say."""
    if sys.platform == "linux":
        with suppress(OSError):
            # Field 22, in ticks since the system started; the name before it may have spaces.
            fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
            return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    return time.perf_counter() - IMPORTED


def _name(loader: Callable[[], object]) -> str:
    """The name of a loader in the log; for a lambda, its file and line."""
    name = str(getattr(loader, "__name__", type(loader).__name__))
    if name == "<lambda>":
        code = loader.__code__
        name = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
    return name


def warn_of_another_cmkit() -> None:
    """Warn of an installed package with this name: static inference would import that one."""
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != SRC]
    found = PathFinder.find_spec(__package__, elsewhere)
    if found and found.origin:
        log.warning(
            "Another package is called cmkit, %s: where Foundry reads the types of this module, it is "
            "taken in place of %s. Uninstall it: pip uninstall cmkit",
            found.origin,
            SRC / "cmkit",
        )
