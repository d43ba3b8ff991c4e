"""How the module ends: when Foundry stops it, or with one message that says why."""

import logging
import sys
import threading
from bdb import BdbQuit
from collections.abc import Iterator
from contextlib import contextmanager

import foundry_sdk
import httpx

# Set when Foundry stops the container; waits and retries then end.
STOPPING = threading.Event()
log = logging.getLogger(__name__)


class EndError(Exception):
    """Ends the module: it is no row's fault, and the message says what to do."""


class SettingsError(EndError):
    """resources.json asks for what this module cannot do."""


class SchemaError(EndError):
    """A column is missing or has another type than its record class says."""


class DownloadFailed(Exception):
    """The whole file did not arrive, after all retries, or the disk is full."""


class ProcessFault(EndError):
    """process() itself is wrong: it raises for every row."""


@contextmanager
def one_message() -> Iterator[None]:
    """Exit with one message and code 1 after a known error; any other keeps its traceback."""
    try:
        yield
    except ProcessFault as error:
        log.critical("%s", error, exc_info=error.__cause__)
        sys.exit(1)
    except EndError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except BdbQuit as error:
        why = str(error) or "pdb was left"
        sys.exit(f"{type(error).__name__}: {why}. No row counts as read for it")
    except (DownloadFailed, foundry_sdk.PalantirException, httpx.HTTPError) as error:
        if not STOPPING.is_set():
            sys.exit(reason_of(error))
        log.warning("Stopped; the next start goes on from the last commit: %s", reason_of(error))
        sys.exit(0)


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line: the client's own text is JSON of many lines."""
    if isinstance(error, foundry_sdk.PalantirRPCException) and error.name:
        told = error.parameters or {}
        shown = ", ".join(f"{name}: {value}" for name, value in told.items())
        return f"{type(error).__name__}: {error.name}" + (f" ({shown})" if shown else "")
    return " ".join(f"{type(error).__name__}: {error}".split())
