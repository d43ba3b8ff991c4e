"""What a caller gets in place of a result, in the platform's own envelope.

The names and their parameters are those of `foundry_sdk.v2.functions.errors` and
`foundry_sdk.v2.ontologies.errors` (foundry-platform-sdk 1.111.0). Which of them stands for which
failure of a compute module is inferred: neither the documentation nor the client says it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from foundry_cm.errors import CmError
from foundry_cm.local.platform.errors import STATUSES, ApiError
from foundry_cm.local.platform.resources import NAMESPACE
from foundry_cm.module.functions import Function
from foundry_cm.module.querytypes import VERSION, parameters, query_type, without_entry_sets


def function_rid(name: str) -> str:
    """The identifier of a function: the same for the same name."""
    return f"ri.function-registry.main.function.{uuid.uuid5(NAMESPACE, f'function/{name}')}"


@dataclass(frozen=True)
class Api:
    """One of the two APIs that execute queries: they differ in names, and in how a map is written."""

    name: str
    # Before the name of an error of a query that was submitted.
    submitted: str = ""

    @property
    def read(self) -> str:
        """The scope of a token that may read definitions (documented with each call)."""
        return "api:ontologies-read" if self.name == "ontologies" else "api:functions-read"

    @property
    def call(self) -> str:
        """The scope of a token that may call."""
        return "api:ontologies-read" if self.name == "ontologies" else "api:functions-execute"

    @property
    def has_entry_sets(self) -> bool:
        """Whether a map is a list of entries there; the other API has no type for a map."""
        return self.name == "ontologies"

    def not_found(self, name: str) -> ApiError:
        """There is no such query."""
        if self.name == "ontologies":
            return ApiError("QueryNotFound", query=name)
        return ApiError("QueryNotFound", queryApiName=name)

    def shown(self, told: dict[str, Any]) -> dict[str, Any]:
        """A type as this API can say it."""
        return told if self.has_entry_sets else without_entry_sets(told)

    def definition(self, function: Function, api_name: str) -> dict[str, Any]:
        """A function as the API defines the query that stands for it."""
        found = {
            "apiName": api_name,
            "displayName": function.name,
            "parameters": {
                name: {**each, "dataType": self.shown(each["dataType"])}
                for name, each in parameters(function).items()
            },
            "output": self.shown(query_type(function.output)),
            "rid": function_rid(function.name),
            "version": VERSION,
        }
        return found | ({"typeReferences": {}} if self.name == "ontologies" else {})

    def failure(self, error: CmError, name: str, function: Function | None) -> ApiError:
        """What stands for a failed call."""
        about = {"functionRid": function_rid(name), "functionVersion": VERSION}
        if error.code == "TimedOut":
            return self._error("QueryTimeExceededLimit", **about)
        if error.code in ("NotReady", "Stopped", "Reloaded", "ModuleNotStarted"):
            return self._error("QueryDeploymentNotAvailable", **about)
        if error.code == "InvalidResult" and function:
            told = self.shown(query_type(function.output))
            return self._error("InvalidQueryOutputValue", outputDataType=told, **about)
        return self._error("QueryRuntimeError", message=error.what, parameters={}, **about)

    def _error(self, name: str, **told: Any) -> ApiError:
        return ApiError(f"{self.submitted}{name}", status=STATUSES[name], **told)
