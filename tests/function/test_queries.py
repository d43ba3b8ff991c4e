"""The caller's side: the unmodified official client calls the functions of a module."""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
from foundry_sdk import (
    BadRequestError,
    Config,
    FoundryClient,
    InternalServerError,
    NotFoundError,
    PalantirRPCException,
    UnauthorizedError,
    UserTokenAuth,
)

from foundry_cm.module.functions import Function
from foundry_cm.testing import Foundry
from tests.function.conftest import HEAD, THREADS

ONTOLOGY = "ri.ontology.main.ontology.00000000-0000-0000-0000-000000000000"
BODY = """
from typing import Iterable, Optional
from compute_modules.annotations import function
from compute_modules.function_registry.types import Long

@dataclass
class Order:
    id: Long
    lines: list[str]
    weights: dict[str, float]
    note: Optional[str] = None

@dataclass
class Placed:
    id: Long
    count: int
    weights: dict[str, float]

@function
def place_order(context, event: Order) -> Placed:
    if event.lines == ["fail"]:
        raise ValueError("nothing is left")
    if event.lines == ["wrong"]:
        return {"id": "x"}
    if event.lines == ["slow"]:
        time.sleep(30)
    return Placed(event.id, len(event.lines), event.weights)

@function(streaming=True)
def count(context, event: Payload) -> Iterable[str]:
    yield from event.text

@function
def who(context, event: Payload) -> str:
    return repr([context.get(k) for k in ("userId", "authHeader", "tempCredsAuthToken")])
"""
ORDER = {"id": "9007199254740993", "lines": ["a", "b"], "weights": {"a": 0.5}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("orders")
    (folder / "app.py").write_text(HEAD + BODY + THREADS)
    (folder / "pyproject.toml").write_text(
        '[tool.foundry-cm.api-names]\nplace_order = "com.acme.computemodules.PlaceOrder"\n'
    )
    with Foundry(folder, [sys.executable, "app.py"], timeout_seconds=20.0) as foundry:
        yield foundry


def client_of(foundry: Foundry, token: str | None = None) -> Any:
    return FoundryClient(
        auth=UserTokenAuth(token or foundry.local.tokens.caller),
        hostname=foundry.local.platform,
        config=Config(verify=foundry.local.ca),
    )


@pytest.fixture(scope="module")
def client(served: Foundry) -> Any:
    return client_of(served)


def execute(client: Any, name: str = "place_order", **changed: Any) -> Any:
    parameters = ORDER | changed
    return client.functions.Query.execute(name, parameters=parameters, preview=True).value


def failure(client: Any, name: str = "place_order", **changed: Any) -> tuple[str | None, Any]:
    with pytest.raises(PalantirRPCException) as raised:
        execute(client, name, **changed)
    return raised.value.name, raised.value.parameters


def test_an_application_executes_a_function_as_a_query(client: Any) -> None:
    answer = {"id": ORDER["id"], "count": 2, "weights": {"a": 0.5}}
    assert execute(client) == answer
    # The name that it has in Foundry, an optional that is left out, and the default branch.
    assert execute(client, "com.acme.computemodules.PlaceOrder", note=None) == answer


def test_an_ontology_executes_it_and_writes_maps_as_entries(client: Any) -> None:
    entries = [{"key": "a", "value": 0.5}]
    query = client.ontologies.Query
    parameters = ORDER | {"weights": entries}
    done = query.execute(ONTOLOGY, "place_order", parameters=parameters)
    assert done.value == {"id": ORDER["id"], "count": 2, "weights": entries}


def test_the_definition_has_the_types_of_the_api(client: Any) -> None:
    told = client.functions.Query.get("place_order", preview=True)
    assert (told.api_name, told.version) == ("com.acme.computemodules.PlaceOrder", "0.0.0")
    shown = {name: (each.data_type.type, each.required) for name, each in told.parameters.items()}
    assert shown == {
        "id": ("long", True),
        "lines": ("array", True),
        "weights": ("unsupported", True),
        "note": ("union", False),
    }
    assert [field.name for field in told.output.fields] == ["id", "count", "weights"]
    assert client.functions.Query.get_by_rid(rid=told.rid, preview=True) == told
    batch = client.functions.Query.get_by_rid_batch([{"rid": told.rid}], preview=True)
    assert batch.data == [told]
    types = {each.api_name: each for each in client.ontologies.Ontology.QueryType.list(ONTOLOGY)}
    assert types.keys() == {"com.acme.computemodules.PlaceOrder", "count", "who"}
    one = types["com.acme.computemodules.PlaceOrder"]
    assert one.parameters["weights"].data_type.type == "entrySet"
    assert client.ontologies.Ontology.QueryType.get(ONTOLOGY, one.api_name) == one


def test_parameters_are_checked_against_the_declared_types(client: Any) -> None:
    assert failure(client, id="x") == (
        "InvalidQueryParameterValue",
        {"parameterDataType": {"type": "long"}, "parameterId": "id", "parameterValue": "x"},
    )
    # As a number a long is none: the API has it as a text.
    assert failure(client, id=1)[0] == "InvalidQueryParameterValue"
    assert failure(client, lines=None) == ("MissingParameter", {"parameters": ["lines"]})
    name, told = failure(client, nots=1)
    assert (name, told["unknownParameters"]) == ("UnknownParameter", ["nots"])


def test_failures_have_the_platforms_envelope(client: Any, served: Foundry) -> None:
    assert failure(client, "plase_order") == ("QueryNotFound", {"queryApiName": "plase_order"})
    name, told = failure(client, lines=["fail"])
    assert (name, told["message"], told["functionVersion"]) == (
        "QueryRuntimeError",
        "ValueError: nothing is left",
        "0.0.0",
    )
    assert failure(client, lines=["wrong"])[0] == "InvalidQueryOutputValue"
    with pytest.raises(BadRequestError) as unseen:
        client.functions.Query.execute("place_order", parameters=ORDER)
    assert unseen.value.name == "ApiFeaturePreviewUsageOnly"
    with pytest.raises(NotFoundError) as older:
        client.functions.Query.execute(
            "place_order", parameters=ORDER, version="1.2.3", preview=True
        )
    assert older.value.name == "QueryVersionNotFound"


def test_a_call_that_takes_too_long_or_has_no_module_is_told_apart(served: Foundry) -> None:
    from foundry_cm.errors import CmError
    from foundry_cm.local.platform.queries.routes import FUNCTIONS

    function: Function = served.functions["place_order"]
    names = {
        code: FUNCTIONS.failure(CmError("x", code=code), "place_order", function).name
        for code in ("TimedOut", "NotReady", "ModuleDied")
    }
    assert names == {
        "TimedOut": "QueryTimeExceededLimit",
        "NotReady": "QueryDeploymentNotAvailable",
        "ModuleDied": "QueryRuntimeError",
    }
    assert issubclass(InternalServerError, PalantirRPCException)


def test_results_come_as_events_and_from_a_submitted_query_too(client: Any) -> None:
    query = client.functions.Query
    with query.with_streaming_response.streaming_execute(
        "count", parameters={"text": "abc"}, preview=True
    ) as events:
        assert [event.data.value for event in events] == [["a", "b", "c"]]
    with query.with_streaming_response.streaming_execute(
        "place_order", parameters=ORDER | {"lines": ["fail"]}, preview=True
    ) as events:
        assert [event.data.error_name for event in events] == ["QueryRuntimeError"]
    done = query.execute_async("place_order", parameters=ORDER, preview=True)
    assert (done.type, done.value["count"]) == ("completed", 2)
    with pytest.raises(BadRequestError) as failed:
        query.execute_async("place_order", parameters=ORDER | {"lines": ["fail"]}, preview=True)
    assert failed.value.name == "AsyncQueryRuntimeError"


def test_nobody_calls_without_the_token_and_no_page_of_another_origin_at_all(
    served: Foundry,
) -> None:
    with pytest.raises(UnauthorizedError):
        execute(client_of(served, "canary-token"))
    url = f"https://{served.local.platform}/api/v2/functions/queries/who/execute?preview=true"
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(url, method="OPTIONS", headers=asked)
    tls = ssl.create_default_context(cafile=served.local.ca)
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request, context=tls)
    assert refused.value.code == 401
    assert not [name for name in refused.value.headers if name.lower().startswith("access-control")]


def test_a_call_as_a_user_tells_the_module_who_it_is(
    served: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_TOKEN", "canary-person")
    assert served.call("who", {"text": ""}) == "['', '', '']"
    user, header, temporary = json.loads(
        served.call("who", {"text": ""}, as_user="u-1").replace("'", '"')
    )
    assert (user, header) == ("u-1", f"Bearer {temporary}")
    assert served.local.tokens.valid(header)
    assert temporary != served.local.tokens.caller
