"""Logs how long the start of a model takes, or in one line why it failed."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

from ..startup import counted

log = logging.getLogger(__name__)


def timed(step: str) -> AbstractContextManager[None]:
    """Log how many seconds a step of the start took."""
    return counted(step, f"Model: {step}")


@contextmanager
def or_end(what: str) -> Iterator[None]:
    """End the module if `what` cannot be loaded, with the library's message in one line."""
    try:
        yield
    except Exception as error:
        log.debug("%s", what, exc_info=True)
        said = " ".join(str(error).split())[:1500]
        end(f"{what} cannot be loaded: {type(error).__name__}: {said}")


def end(why: str) -> NoReturn:
    """End the module, which cannot serve without its model."""
    log.critical("No model: %s", why)
    sys.exit(1)
