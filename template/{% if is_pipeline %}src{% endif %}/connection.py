"""The connection to Foundry; owned by the template: `copier update` replaces this file."""

import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import foundry_sdk
import httpx
import stamina
import yaml
from foundry_sdk import Config, FoundryClient
from foundry_sdk._core import ComputeModulePipelineAuth
from foundry_sdk._core.auth_utils import Token
from foundry_sdk._errors.palantir_qos_exception import QoSRetryHint
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

log = logging.getLogger(__name__)


class FreshPipelineAuth(ComputeModulePipelineAuth):
    """The pipeline's token, read again for each request: the client's own class keeps the first one."""

    def get_token(self) -> Token:
        return ComputeModulePipelineAuth().get_token()


def connect() -> FoundryClient:
    """A client for the services that Foundry mounts into the container."""
    # With service discovery alone the client refuses to start: it also wants a host name.
    with open(os.environ["FOUNDRY_SERVICE_DISCOVERY_V2"], encoding="utf-8") as file:
        gateway = yaml.safe_load(file)["api_gateway"][0]
    os.environ.setdefault("FOUNDRY_HOSTNAME", urlsplit(gateway).netloc)
    config = Config(
        verify=os.environ["DEFAULT_CA_PATH"],
        timeout=60,
        # Waiting for longer than the client's four tries is up to `call`.
        propagate_qos="PROPAGATE_429_AND_503_TO_CALLER",
    )
    return FoundryClient(auth=FreshPipelineAuth(), config=config)


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call the platform, again and again with growing pauses where that can help.

    It helps when the platform asks for patience (429, 503), fails, is out of reach, or no longer
    knows the token. A call that was cut off may have happened, so calls must bear a repetition.
    """
    for attempt in stamina.retry_context(
        on=_helps, attempts=12, timeout=300, wait_initial=0.2, wait_max=30
    ):
        with attempt:
            return function(*args, **options)
    raise AssertionError("retry_context returns or raises")


def _log_retry(details: RetryDetails) -> None:
    reason = f"{type(details.caused_by).__name__}: {details.caused_by}".splitlines()[0]
    log.warning("Trying again in %.1f s: %s", details.wait_for, reason[:200])


set_on_retry_hooks([_log_retry])


def _helps(error: Exception) -> bool:
    if isinstance(error, foundry_sdk.RateLimitError | foundry_sdk.ServiceUnavailable):
        return error.retry_hint != QoSRetryHint.DO_NOT_RETRY
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
