"""The deployed functions of a module, called through the official client as applications call them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from foundry_cm.enrollment.person import HOSTNAME, TOKEN, Person
from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.querytypes import to_api, to_module

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Answered:
    """The result of a call, as the module gives it, and how long the caller waited."""

    value: Any
    seconds: float


class Deployed:
    """The functions as queries of a Foundry; `api_names` are those that differ from the module's."""

    def __init__(self, person: Person, api_names: Mapping[str, str]) -> None:
        self.person = person
        self._api_names = api_names
        self._client = _client(person)
        self._known: dict[str, dict[str, Any]] = {}

    def api_name(self, function: str) -> str:
        """The name that a function has in Foundry."""
        return self._api_names.get(function, function)

    def definition(self, function: str) -> dict[str, Any]:
        """What Foundry says of a function: its parameters and its output; raises `CmError`."""
        if function not in self._known:
            name = self.api_name(function)
            with self._failures(name, CONNECT_SECONDS):
                told = self._client.functions.Query.get(
                    name, preview=True, request_timeout=CONNECT_SECONDS
                )
            self._known[function] = told.model_dump(by_alias=True, exclude_none=True)
        return self._known[function]

    def call(self, function: str, event: Any, timeout: float) -> Answered:
        """The result of one call; raises `CmError`.

        An event is that of the module: what the API writes in another way is translated.
        """
        told, name = self.definition(function), self.api_name(function)
        if not isinstance(event, dict):
            raise CmError(
                f"The event of {function} is not a JSON object, and Foundry takes parameters by "
                "name",
                code="InvalidEvent",
                exit_code=USAGE,
            )
        types = {key: each["dataType"] for key, each in told["parameters"].items()}
        given = {
            key: to_api(value, types[key], entries=False) if key in types else value
            for key, value in event.items()
        }
        began = time.perf_counter()
        with self._failures(name, timeout):
            answer = self._client.functions.Query.execute(
                name, parameters=given, preview=True, request_timeout=timeout
            )
        return Answered(
            to_module(answer.value, told["output"], strict=False), time.perf_counter() - began
        )

    @contextmanager
    def _failures(self, name: str, timeout: float) -> Iterator[None]:
        """Turns what the client raises into a `CmError`, which does not hold the token."""
        from foundry_sdk import ConnectionError as NoConnection
        from foundry_sdk import PalantirException, PalantirRPCException
        from foundry_sdk import TimeoutError as TooLong

        try:
            yield
        except PalantirRPCException as error:
            raise self._refused(name, error) from None
        except TooLong:
            raise CmError(
                f"{name} did not answer within {timeout:g} s",
                where=self.person.host,
                fix="Pass --timeout to wait longer.",
                code="TimedOut",
            ) from None
        except NoConnection as error:
            raise self.person.unreachable(str(error)) from None
        except PalantirException as error:
            if type(error).__name__ == "ApiNotFoundError":
                raise self._not_there(name) from None
            raise CmError(
                f"{self.person.host} gave no usable answer ({type(error).__name__})",
                fix="Check the host: it may not be a Foundry, or it may be overloaded.",
                code="Unreachable",
            ) from None

    def _not_there(self, name: str) -> CmError:
        return CmError(
            f'{self.person.host} has no query "{name}", or you have no access to it',
            fix="Import the function in the module's Functions tab, with an API name, and write the name "
            f'into pyproject.toml: [tool.foundry-cm.api-names], FUNCTION = "{name}".',
            code="UnknownFunction",
            exit_code=USAGE,
        )

    def _refused(self, name: str, error: Any) -> CmError:
        kind, told = str(error.name), error.parameters or {}
        if kind in ("QueryNotFound", "FunctionNotFound"):
            return self._not_there(name)
        if error.error_code == "UNAUTHORIZED" or type(error).__name__ == "UnauthorizedError":
            return CmError(
                f"{self.person.host} refuses the token",
                fix=f"Generate a new one in the Foundry at {HOSTNAME}: read -rs {TOKEN} && export "
                f"{TOKEN}",
                code="Refused",
            )
        said = told.get("message") or ", ".join(f"{key} {value}" for key, value in told.items())
        return CmError(
            f"{name} failed in Foundry: {kind}: {self.person.hidden(str(said))}"[:600].rstrip(": "),
            where=f"{self.person.host}, error {error.error_instance_id}",
            code="HandlerFailed",
        )


def _client(person: Person) -> Any:
    """The official client; 429 and 503 come back, since a call that is tried again may write twice."""
    try:
        from foundry_sdk import Config, FoundryClient, UserTokenAuth
    except ImportError:
        raise CmError(
            "Deployed functions are called through foundry-platform-sdk, which is not installed",
            fix='pip install "foundry-cm[deployed]"',
            code="MissingExtra",
            exit_code=USAGE,
        ) from None
    person.tls()
    proxy = person.proxy()
    config = Config(
        verify=person.authorities or True,
        propagate_qos="PROPAGATE_429_AND_503_TO_CALLER",
        proxies={"https": proxy} if proxy else None,
    )
    return FoundryClient(auth=UserTokenAuth(person.token), hostname=person.host, config=config)
