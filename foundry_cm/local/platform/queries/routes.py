"""The routes of `client.functions.Query`, `client.ontologies.Query` and `client.ontologies.QueryType`.

An application calls a function of the module through them, as it does in Foundry.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.platform.access import check_scope
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.queries.answers import Api, function_rid
from foundry_cm.local.platform.requests import page, preview
from foundry_cm.module import datatypes
from foundry_cm.module.events import parse_event
from foundry_cm.module.functions import Function
from foundry_cm.module.querytypes import VERSION, query_type, to_api, to_module

FUNCTIONS, ONTOLOGIES = Api("functions"), Api("ontologies")
SUBMITTED = Api("functions", submitted="Async")
_MOST_OF_A_BATCH = 100


class Called(Protocol):
    """What the routes need of the local Foundry."""

    max_bytes: int

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions that the module declared, by name."""

    async def ready(self) -> None:
        """Wait until the module asks for work."""

    async def call(self, name: str, event: Any) -> Any:
        """Call a function; raises `CmError`."""


@dataclass
class Queries:
    """The functions of a module as queries; `api_names` are those that they have in Foundry."""

    module: Called
    api_names: Mapping[str, str] = field(default_factory=dict)
    # The names of the local Ontology; where there is none, any will do.
    ontologies: Sequence[str] = ()
    # How a panel calls the module, which keeps the call in its history; without one, the module is called.
    recorded: Callable[[str, Any], Awaitable[Any]] | None = None

    def api_name(self, function: str) -> str:
        """The name by which an application knows a function."""
        return self.api_names.get(function, function)

    def find(self, name: str) -> Function | None:
        """The function of an API name; its own name is one as well."""
        named = {api_name: function for function, api_name in self.api_names.items()}
        return self.module.functions.get(named.get(name, name))

    def by_rid(self, rid: str) -> Function | None:
        """The function of an identifier."""
        found = (each for each in self.module.functions.values() if function_rid(each.name) == rid)
        return next(found, None)


QUERIES = web.AppKey("queries", Queries)


def routes() -> list[web.RouteDef]:
    """Every route of a query; `getByRid` stands before the names, of which it would be one."""
    queries, of_ontology = "/api/v2/functions/queries", "/api/v2/ontologies/{ontology}"
    return [
        web.get(f"{queries}/getByRid", get_by_rid),
        web.post(f"{queries}/getByRidBatch", get_batch),
        web.get(f"{queries}/{{query}}", get_query),
        web.post(f"{queries}/{{query}}/execute", execute),
        web.post(f"{queries}/{{query}}/executeAsync", submit),
        web.post(f"{queries}/{{query}}/streamingExecute", stream),
        web.post(f"{queries}/{{query}}/streamingExecuteEvents", stream),
        web.get(f"{of_ontology}/queryTypes", list_types),
        web.post(f"{of_ontology}/queryTypes/getByRidBatch", get_type_batch),
        web.get(f"{of_ontology}/queryTypes/{{query}}", get_type),
        web.post(f"{of_ontology}/queries/{{query}}/execute", execute_in_ontology),
    ]


# Definitions


async def _declared(request: web.Request, scope: str) -> Queries:
    """The queries, once the module has declared them: one that starts is asked a moment later."""
    check_scope(request, scope)
    queries = request.app[QUERIES]
    ontology = request.match_info.get("ontology")
    if ontology and queries.ontologies and ontology not in queries.ontologies:
        rid, name = (ontology, None) if ontology.startswith("ri.") else (None, ontology)
        raise ApiError("OntologyNotFound", ontologyRid=rid, apiName=name)
    try:
        # Once it has declared them a call may come while no replica runs: the scaler starts one for it.
        if not queries.module.functions:
            await queries.module.ready()
    except CmError as error:
        raise FUNCTIONS.failure(error, "", None) from None
    return queries


def _check_version(name: str, version: Any) -> None:
    if version not in (None, VERSION):
        raise ApiError("QueryVersionNotFound", apiName=name, version=str(version))


async def _definition(request: web.Request, api: Api) -> web.Response:
    queries, name = await _declared(request, api.read), request.match_info["query"]
    function = queries.find(name)
    if function is None:
        raise api.not_found(name)
    _check_version(name, request.query.get("version"))
    return web.json_response(api.definition(function, queries.api_name(function.name)))


async def get_query(request: web.Request) -> web.Response:
    """The definition of a query by its API name."""
    preview(request)
    return await _definition(request, FUNCTIONS)


async def get_type(request: web.Request) -> web.Response:
    """The definition of a query type of the ontology."""
    return await _definition(request, ONTOLOGIES)


async def list_types(request: web.Request) -> web.Response:
    """All of them."""
    queries = await _declared(request, ONTOLOGIES.read)
    return page(request, _all(queries, ONTOLOGIES, queries.module.functions.values()), 100, 500)


def _all(queries: Queries, api: Api, functions: Any) -> list[dict[str, Any]]:
    return [api.definition(each, queries.api_name(each.name)) for each in functions]


async def get_by_rid(request: web.Request) -> web.Response:
    """The definition of a query by the identifier of its function."""
    preview(request)
    queries, rid = await _declared(request, FUNCTIONS.read), request.query.get("rid", "")
    function = queries.by_rid(rid)
    if function is None:
        raise ApiError("FunctionNotFound", functionRid=rid)
    _check_version(queries.api_name(function.name), request.query.get("version"))
    return web.json_response(FUNCTIONS.definition(function, queries.api_name(function.name)))


async def get_batch(request: web.Request) -> web.Response:
    """The definitions of those queries, of at most a hundred, that there are."""
    preview(request)
    queries, body = await _declared(request, FUNCTIONS.read), await _body(request)
    return _batch(queries, FUNCTIONS, body, "rid", "version")


async def get_type_batch(request: web.Request) -> web.Response:
    """The same for the query types of the ontology."""
    queries, body = await _declared(request, ONTOLOGIES.read), await _body(request)
    asked = body.get("requests") if isinstance(body, dict) else None
    return _batch(queries, ONTOLOGIES, asked, "queryTypeRid", "functionVersion")


def _batch(queries: Queries, api: Api, asked: Any, rid: str, version: str) -> web.Response:
    fits = isinstance(asked, list) and 0 < len(asked) <= _MOST_OF_A_BATCH
    if not fits or not all(isinstance(each, dict) for each in asked):
        raise ApiError("InvalidRequestBody")
    known = [each for each in asked if each.get(version) in (None, VERSION)]
    found = [queries.by_rid(str(each.get(rid))) for each in known]
    return web.json_response({"data": _all(queries, api, filter(None, found))})


# Calls


async def execute(request: web.Request) -> web.Response:
    """Calls a function."""
    preview(request)
    return web.json_response({"value": await _call(request, FUNCTIONS)})


async def execute_in_ontology(request: web.Request) -> web.Response:
    """Calls a function as a query of the ontology, which is no preview."""
    return web.json_response({"value": await _call(request, ONTOLOGIES)})


async def submit(request: web.Request) -> web.Response:
    """Calls a function, of which the result may be asked for later: here it is there at once."""
    preview(request)
    value = await _call(request, SUBMITTED)
    return web.json_response({"type": "completed", "value": value})


async def stream(request: web.Request) -> web.StreamResponse:
    """Calls a function, and sends its result as one server-sent event."""
    preview(request)
    try:
        told = {"type": "data", "value": await _call(request, FUNCTIONS)}
    except ApiError as error:
        if error.status in (401, 403, 404, 413):
            raise
        told = {"type": "error", **error.as_json()}
    body = b"data: %b\n\n" % json.dumps(told).encode()
    return web.Response(body=body, content_type="text/event-stream")


async def _call(request: web.Request, api: Api) -> Any:
    """The result of a call as the API writes it; raises `ApiError`."""
    queries, name = await _declared(request, api.call), request.match_info["query"]
    body = await _body(request)
    given = body.get("parameters", {}) if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise ApiError("InvalidRequestBody")
    function = queries.find(name)
    if function is None:
        raise api.not_found(name)
    _check_version(name, request.query.get("version") or body.get("version"))
    if request.query.get("transactionId"):
        raise ApiError(
            "FunctionNotSupportedWithTransaction",
            functionRid=function_rid(function.name),
            functionVersion=VERSION,
            message="A compute module reads no transaction",
        )
    event = _event(function, given, api)
    try:
        result = await (queries.recorded or queries.module.call)(function.name, event)
    except CmError as error:
        raise api.failure(error, function.name, function) from None
    return to_api(result.value, query_type(function.output), entries=api.has_entry_sets)


def _event(function: Function, given: dict[str, Any], api: Api) -> dict[str, Any]:
    """The event that parameters make up, each checked against its type."""
    inputs = {item["name"]: item for item in function.inputs}
    if not inputs:
        return given
    if unknown := sorted(given.keys() - inputs.keys()):
        raise ApiError(
            "UnknownParameter", unknownParameters=unknown, expectedParameters=sorted(inputs)
        )
    event = {}
    for name, item in inputs.items():
        value, data_type = given.get(name), item["dataType"]
        if value is None and data_type.get("type") != "optionalType":
            continue
        if name in given:
            event[name] = _checked(name, value, data_type, api)
    missing = [name for name in inputs if inputs[name].get("required", True) and name not in event]
    if missing:
        raise ApiError("MissingParameter", parameters=missing)
    return event


def _checked(name: str, value: Any, data_type: datatypes.DataType, api: Api) -> Any:
    told = query_type(data_type)
    converted = to_module(value, told, strict=True)
    checker = datatypes.validator(datatypes.json_schema(data_type))
    if datatypes.problem(checker, converted, name):
        raise ApiError(
            "InvalidQueryParameterValue",
            parameterDataType=api.shown(told),
            parameterId=name,
            parameterValue=value,
        )
    return converted


async def _body(request: web.Request) -> Any:
    """The JSON of a request, which is no larger than a call may be."""
    body, most = bytearray(), request.app[QUERIES].module.max_bytes
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise ApiError("RequestEntityTooLarge", status=413, maxBytes=most)
    if not body:
        raise ApiError("MissingPostBody")
    try:
        # In a thread: the module's replicas have their turn while a large one is read.
        return await asyncio.to_thread(parse_event, bytes(body), "the request")
    except CmError:
        raise ApiError("InvalidRequestBody") from None
