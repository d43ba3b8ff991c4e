"""The log: each line names the call that it belongs to, in any thread.

LOG_LEVEL is the lowest level that is shown (default INFO). LOG_FORMAT=json makes each line a JSON object.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from multiprocessing.pool import ThreadPool
from typing import Any, TextIO

from compute_modules.logging.common import COMPUTE_MODULES_ADAPTER_MANAGER, get_thread_local_data

TEXT = "%(asctime)s %(levelname)s %(name)s%(of_job)s: %(message)s"
# The methods that give work to the threads of a pool.
POOLS = {
    ThreadPoolExecutor: ("submit",),
    ThreadPool: (
        *("apply_async", "map", "map_async", "starmap", "starmap_async"),
        *("imap", "imap_unordered"),
    ),
}


def set_up(stream: TextIO) -> None:
    """Write the log to `stream`, as LOG_LEVEL and LOG_FORMAT say."""
    level = os.environ.get("LOG_LEVEL", "").upper() or "INFO"
    known = level in logging.getLevelNamesMapping()
    handler = logging.StreamHandler(stream)
    handler.addFilter(_name_job)
    as_json = os.environ.get("LOG_FORMAT", "").lower() == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(TEXT))
    logging.basicConfig(level=level if known else "INFO", handlers=[handler])
    if not known:
        logging.getLogger(__name__).warning("LOG_LEVEL is %s; use DEBUG, INFO or WARNING", level)
    _hand_on()


class JsonFormatter(logging.Formatter):
    """A line of the log as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _job():
            line["job"] = job
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextmanager
def working_on(job: str) -> Iterator[None]:
    """Name the job in each line that this thread logs; the SDK does so for its calls."""
    before = _job()
    COMPUTE_MODULES_ADAPTER_MANAGER.update_job_id(job)
    try:
        yield
    finally:
        COMPUTE_MODULES_ADAPTER_MANAGER.update_job_id(before)


def _job() -> str:
    return get_thread_local_data("job_id", "")


def _name_job(record: logging.LogRecord) -> bool:
    record.of_job = f" [{job}]" if (job := _job()) else ""
    return True


def _of_job(job: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with working_on(job):
            return function(*args, **options)

    return run


def _hand_on() -> None:
    """Pass the job on to threads that a handler starts, and to pools that it gives work to.

    A pool is often made at the top of a file, so its threads do not know the job.
    """
    start = threading.Thread.start

    def start_of_job(self: threading.Thread) -> None:
        if job := _job():
            self.run = _of_job(job, self.run)  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = start_of_job  # type: ignore[method-assign]
    for pool, names in POOLS.items():
        for name in names:
            setattr(pool, name, _giving_of_job(getattr(pool, name)))


def _giving_of_job(give: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(give)
    def given(self: Any, *args: Any, **options: Any) -> Any:
        if args:
            return give(self, _of_job(_job(), args[0]), *args[1:], **options)
        return give(self, func=_of_job(_job(), options.pop("func")), **options)

    return given
