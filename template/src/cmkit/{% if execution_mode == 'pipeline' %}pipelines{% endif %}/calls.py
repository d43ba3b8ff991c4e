"""Calls to Foundry that are tried again where that can help."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import foundry_sdk
import httpx
import stamina
from foundry_sdk._errors.palantir_qos_exception import QoSRetryHint
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

WAIT_SECONDS = 30.0
RETRIED = (401, 429, 500, 502, 503, 504)
log = logging.getLogger(__name__)


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call the platform, again and again with growing pauses where that can help.

    It helps when the platform asks for patience (429, 503), fails, is out of reach, or no longer
    knows the token. A call that was cut off may have happened, so calls must bear a repetition.
    """
    for attempt in stamina.retry_context(
        on=_helps, attempts=12, timeout=300, wait_initial=0.2, wait_max=WAIT_SECONDS
    ):
        with attempt:
            return function(*args, **options)
    raise AssertionError("retry_context returns or raises")


def _log_retry(details: RetryDetails) -> None:
    # The client's errors are a JSON text of many lines; the reason stands in the middle of it.
    reason = " ".join(f"{type(details.caused_by).__name__}: {details.caused_by}".split())
    log.warning("Trying again in %.1f s: %s", details.wait_for, reason[:300])


set_on_retry_hooks([_log_retry])


def _helps(error: Exception) -> bool | float:
    """Whether another try can help; the seconds until then, where the platform names them."""
    if isinstance(error, foundry_sdk.RateLimitError | foundry_sdk.ServiceUnavailable):
        return error.retry_hint != QoSRetryHint.DO_NOT_RETRY and _retry_after(error)
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in RETRIED and _retry_after(error)
    if isinstance(error, foundry_sdk.SDKInternalError):
        # The client wraps a connection that breaks in the middle of an answer.
        return isinstance(error.__cause__, httpx.TransportError)
    return isinstance(
        error,
        httpx.TransportError
        | foundry_sdk.ConnectionError
        | foundry_sdk.InternalServerError
        | foundry_sdk.TimeoutError
        | foundry_sdk.UnauthorizedError,
    )


def _retry_after(error: Exception) -> bool | float:
    # The client's errors lack the header, but the frame that raised them still has the response.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, httpx.Response):
                seconds = value.headers.get("Retry-After", "")
                return min(float(seconds), WAIT_SECONDS) if seconds.isdecimal() else True
    return True
