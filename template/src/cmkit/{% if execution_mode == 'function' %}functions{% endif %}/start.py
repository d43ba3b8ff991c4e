"""The start of the module: it serves the functions that app.py registered."""

import atexit
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from compute_modules import startup as sdk
from compute_modules.annotations import function
from compute_modules.function_registry.function_registry import REGISTERED_FUNCTIONS, STREAMING

from ..startup import NoTerminal, log_cold_start, warn_of_another_cmkit
from .client import Client, stop
from .files import forgotten
from .results import to_json

__all__ = ["CallerError", "function", "start"]

# The SDK's exit hook would start the module even if app.py failed to import, with functions missing.
atexit.unregister(sdk.start_compute_module)

log = logging.getLogger(__name__)


class CallerError(Exception):
    """A mistake of the caller. Raise it in a handler: the caller gets its message."""


def start(*files: ModuleType) -> None:
    """Serve the registered functions until Foundry stops the container.

    `files` are the other files that have functions, imported by app.py: `start(orders, prices)`.
    """
    if "RUNTIME_HOST" not in os.environ:
        sys.exit("This module runs inside Foundry. To run it on this machine: cm serve")
    warn_of_another_cmkit()
    if problem := forgotten(files):
        sys.exit(problem)
    if not REGISTERED_FUNCTIONS:
        sys.exit("app.py registers no function: decorate the handler with @function")
    # Process 1 of a container ignores these signals unless it handles them.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for name, handler in REGISTERED_FUNCTIONS.items():
        REGISTERED_FUNCTIONS[name] = _guarded(name, handler, STREAMING[name])
    log.info("Serving %s", ", ".join(REGISTERED_FUNCTIONS))
    log_cold_start()
    sdk.InternalQueryService = Client  # type: ignore[attr-defined]  # its name there
    # The SDK's default, a process pool, forks: a loaded model hangs and a crashed worker loses its job.
    sdk.start_compute_module(concurrency_type=sdk.ConcurrencyType.THREAD_POOL)


def _guarded(name: str, handler: Callable[..., Any], streaming: bool) -> Callable[..., Any]:
    """The handler, with results as JSON values and errors without internals."""

    def failure(error: BaseException, job_id: str) -> dict[str, str]:
        if isinstance(error, CallerError | NoTerminal):
            log.info("%s refused job %s: %s", name, job_id, error)
            return {"exception": str(error)}
        log.error("%s failed on job %s", name, job_id, exc_info=error)
        return {"exception": f"{name} failed on job {job_id}; the log of the module says why."}

    def stream(items: Iterable[Any], job_id: str) -> Iterator[Any]:
        try:
            for index, item in enumerate(items):
                yield to_json(item, f"{name}()[{index}]")
        except Exception as error:
            yield failure(error, job_id)

    def call(context: Any, event: Any) -> Any:
        job_id = context["jobId"] if isinstance(context, dict) else context.jobId
        try:
            result = handler(context, event)
            if streaming and isinstance(result, Iterable) and not isinstance(result, dict):
                return stream(result, job_id)
            return to_json(result, f"{name}()")
        except (Exception, SystemExit) as error:
            return failure(error, job_id)

    return call
