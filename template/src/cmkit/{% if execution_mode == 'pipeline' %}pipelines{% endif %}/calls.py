"""Calls to Foundry, with retries."""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import foundry_sdk
import httpx
import tenacity
from foundry_sdk._errors.palantir_qos_exception import QoSRetryHint

from .ends import STOPPING, reason_of

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.2
RETRIED = (401, 429, 500, 502, 503, 504)
GROWING = tenacity.wait_exponential(multiplier=0.2, max=WAIT_SECONDS) + tenacity.wait_random(0, 1)
log = logging.getLogger(__name__)


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call the platform, and retry with growing pauses after an error that can pass.

    These are: the platform is busy (429, 503), fails, cannot be reached, or no longer knows the token.
    A call that was cut off may have been carried out, so it must be safe to repeat.
    """
    return call_until(STOPPING, function, *args, **options)


def call_until(
    given_up: threading.Event, function: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    """As `call`, without retries once `given_up` is set."""

    def sleep(seconds: float) -> None:
        end = time.monotonic() + seconds
        while not given_up.is_set() and (left := end - time.monotonic()) > 0:
            if STOPPING.wait(min(left, LOOK_SECONDS)):
                return

    trying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_helps),
        stop=tenacity.stop_after_attempt(12)
        | tenacity.stop_after_delay(300)
        | tenacity.stop_when_event_set(STOPPING)
        | tenacity.stop_when_event_set(given_up),
        wait=_pause,
        sleep=sleep,
        before_sleep=_log_retry,
        reraise=True,
    )
    return trying(function, *args, **options)


def _log_retry(state: tenacity.RetryCallState) -> None:
    log.warning("Trying again in %.1f s: %s", state.upcoming_sleep, reason_of(_error(state))[:300])


def _error(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome and state.outcome.exception()
    assert error, "only errors are retried"
    return error


def _pause(state: tenacity.RetryCallState) -> float:
    """The seconds that Retry-After asks for, or else growing ones."""
    named = _retry_after(_error(state))
    return GROWING(state) if named is None else named


def _helps(error: BaseException) -> bool:
    """Whether a retry can help."""
    if isinstance(error, foundry_sdk.RateLimitError | foundry_sdk.ServiceUnavailable):
        return bool(error.retry_hint != QoSRetryHint.DO_NOT_RETRY)
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in RETRIED
    if isinstance(error, foundry_sdk.SDKInternalError):
        # How the client reports a connection that breaks in the middle of an answer.
        return isinstance(error.__cause__, httpx.TransportError)
    return isinstance(
        error,
        httpx.TransportError
        | foundry_sdk.ConnectionError
        | foundry_sdk.InternalServerError
        | foundry_sdk.TimeoutError
        | foundry_sdk.UnauthorizedError,
    )


def _retry_after(error: BaseException) -> float | None:
    # The client's errors lack the header, but the frame that raised them still has the response.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, httpx.Response):
                seconds = value.headers.get("Retry-After", "")
                return min(float(seconds), WAIT_SECONDS) if seconds.isdecimal() else None
    return None
