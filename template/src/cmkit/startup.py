"""What every module does first: it sets up its log, loads its assets, and looks for a second cmkit."""

import logging
import os
import sys
import time
from bdb import BdbQuit
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from compute_modules import startup as sdk

from .logs import set_up

# The folder of app.py: src/ on a laptop, /app in the image.
SRC = Path(__file__).resolve().parent.parent
# Foundry's static inference imports every file at build time to read the types of functions.
INFERENCE = sdk.DISABLE_STARTUP
# It prints them to standard output, so logs keep out of there.
set_up(stream=sys.stderr if INFERENCE else sys.stdout)
log = logging.getLogger(__name__)

Asset = TypeVar("Asset")


class NoTerminal(BdbQuit):
    """A breakpoint() where nobody can type: it is no fault of the event or the row at hand."""


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
    began = time.perf_counter()
    asset = loader()
    log.info("%s took %.2f s", name, time.perf_counter() - began)
    return asset


def _name(loader: Callable[[], object]) -> str:
    """What the log calls a loader; one without a name, such as a lambda, by where it is written."""
    name = str(getattr(loader, "__name__", type(loader).__name__))
    if name == "<lambda>":
        code = loader.__code__
        name = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
    return name


def warn_of_another_cmkit() -> None:
    """Say so where a package of this name is installed: static inference would import that one."""
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != SRC]
    found = PathFinder.find_spec(__package__, elsewhere)
    if found and found.origin:
        log.warning(
            "Another package is called cmkit, %s: where Foundry reads the types of this module, it is "
            "taken in place of %s. Uninstall it: pip uninstall cmkit",
            found.origin,
            SRC / "cmkit",
        )
