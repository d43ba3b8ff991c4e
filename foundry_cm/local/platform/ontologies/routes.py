"""The routes of `client.ontologies` that read: types, objects, links and questions about objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.access import check_scope
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies import shapes
from foundry_cm.local.platform.ontologies.aggregations import aggregate
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.filters import named_property, test_of
from foundry_cm.local.platform.ontologies.schema import LinkSide, ObjectType
from foundry_cm.local.platform.ontologies.store import Ontology
from foundry_cm.local.platform.registry import REGISTRY
from foundry_cm.local.platform.requests import json_body, page, page_of, preview

BASE = "/api/v2/ontologies"
ONE = f"{BASE}/{{ontology}}"
TYPE = f"{ONE}/objectTypes/{{object_type}}"
OBJECTS = f"{ONE}/objects/{{object_type}}"
LINKS = f"{OBJECTS}/{{key}}/links/{{link}}"
# Pages of types, and of objects: what the client says they have where nothing is asked for.
TYPES_PAGE, OBJECTS_PAGE = 500, 1000
LARGEST_PAGE = 10_000


def routes() -> list[web.RouteDef]:
    """Every route that reads; the names say at which point faults strike."""
    return [
        web.get(BASE, list_ontologies, name="list-ontologies"),
        web.get(ONE, get_ontology),
        web.get(f"{ONE}/objectTypes", list_object_types, name="list-types"),
        web.get(TYPE, get_object_type),
        web.get(f"{TYPE}/outgoingLinkTypes", list_link_types, name="list-links"),
        web.get(f"{TYPE}/outgoingLinkTypes/{{link}}", get_link_type),
        web.get(OBJECTS, list_objects, name="list-objects"),
        web.get(f"{OBJECTS}/{{key}}", get_object, name="read-object"),
        web.get(LINKS, list_linked_objects, name="list-linked"),
        web.get(f"{LINKS}/{{linked_key}}", get_linked_object, name="read-linked"),
        web.get(f"{ONE}/fullMetadata", get_full_metadata),
        web.get(f"{TYPE}/fullMetadata", get_type_metadata),
        web.post(f"{OBJECTS}/search", search, name="list-found"),
        web.post(f"{OBJECTS}/count", count, name="read-count"),
        web.post(f"{OBJECTS}/aggregate", aggregate_objects, name="read-aggregate"),
    ]


def ontology_of(request: web.Request) -> Ontology:
    """The Ontology that a call names, by its API name or its RID."""
    check_scope(request, "api:ontologies-read")
    ontology, asked = request.app[REGISTRY].ontology, request.match_info["ontology"]
    if ontology is None or asked not in (ontology.schema.name, ontology.schema.rid):
        rid, name = (asked, None) if asked.startswith("ri.") else (None, asked)
        raise ApiError("OntologyNotFound", ontologyRid=rid, apiName=name)
    _refuse(request)
    return ontology


def _refuse(request: web.Request) -> None:
    """Refuse what would be answered from somewhere else: a branch, a scenario, a transaction."""
    for name in ("branch", "scenarioRid", "transactionId"):
        if name in request.query:
            message = f"the local Ontology has no {name}"
            raise ApiError("Default:InvalidArgument", status=400, message=message)


def named_type(request: web.Request) -> tuple[Ontology, ObjectType]:
    """The Ontology and the object type that a call names."""
    ontology = ontology_of(request)
    return ontology, ontology.object_type(request.match_info["object_type"])


# Types.


async def list_ontologies(request: web.Request) -> web.Response:
    """The one Ontology, or none."""
    check_scope(request, "api:ontologies-read")
    ontology = request.app[REGISTRY].ontology
    return web.json_response({"data": [shapes.ontology(ontology.schema)] if ontology else []})


async def get_ontology(request: web.Request) -> web.Response:
    """The Ontology without what is in it."""
    return web.json_response(shapes.ontology(ontology_of(request).schema))


async def list_object_types(request: web.Request) -> web.Response:
    """The object types."""
    types = ontology_of(request).schema.objects.values()
    return page(request, [shapes.object_type(each) for each in types], TYPES_PAGE, TYPES_PAGE)


async def get_object_type(request: web.Request) -> web.Response:
    """One object type."""
    return web.json_response(shapes.object_type(named_type(request)[1]))


async def list_link_types(request: web.Request) -> web.Response:
    """The links that lead from an object type."""
    ontology, kind = named_type(request)
    sides = ontology.schema.links[kind.name].values()
    return page(request, [shapes.link_side(side) for side in sides], TYPES_PAGE, TYPES_PAGE)


async def get_link_type(request: web.Request) -> web.Response:
    """One of these links."""
    ontology, kind = named_type(request)
    return web.json_response(shapes.link_side(ontology.link(kind.name, request.match_info["link"])))


def _metadata(ontology: Ontology, kind: ObjectType) -> dict[str, Any]:
    sides = ontology.schema.links[kind.name].values()
    return {
        "objectType": shapes.object_type(kind),
        "linkTypes": [shapes.link_side(side) for side in sides],
        "implementsInterfaces": [],
        "implementsInterfaces2": {},
        "sharedPropertyTypeMapping": {},
    }


async def get_type_metadata(request: web.Request) -> web.Response:
    """One object type with its links."""
    preview(request)
    return web.json_response(_metadata(*named_type(request)))


async def get_full_metadata(request: web.Request) -> web.Response:
    """All types at once."""
    preview(request)
    ontology = ontology_of(request)
    schema = ontology.schema
    empty = ("queryTypes", "interfaceTypes", "sharedPropertyTypes", "valueTypes")
    return web.json_response(
        {
            "ontology": shapes.ontology(schema),
            "objectTypes": {
                name: _metadata(ontology, kind) for name, kind in schema.objects.items()
            },
            "actionTypes": {
                name: shapes.action_type(action, schema) for name, action in schema.actions.items()
            },
            "actionTypesFullMetadata": {},
            **{name: {} for name in empty},
        }
    )


# Objects.


def checked_select(kind: ObjectType, asked: Sequence[str]) -> list[str] | None:
    """The properties that are asked for, or None for all; PropertiesNotFound for others."""
    missing = [name for name in asked if name not in kind.properties]
    if missing:
        raise ApiError("PropertiesNotFound", objectType=kind.name, properties=missing)
    return list(asked) or None


def shower(request: web.Request, kind: ObjectType) -> Callable[[Properties], dict[str, Any]]:
    """How the parameters of a call want an object shown."""
    asked = [name for each in request.query.getall("select", []) for name in each.split(",")]
    select = checked_select(kind, asked)
    without_rid = request.query.get("excludeRid", "").lower() == "true"
    return lambda found: shapes.shown(kind, found, select, without_rid=without_rid)


def ordered(
    kind: ObjectType, objects: list[Properties], fields: Sequence[tuple[str, bool]]
) -> list[Properties]:
    """Objects in the order of some properties, each ascending or descending; null comes last."""
    names = [name for name, _ in fields]
    missing = [name for name in names if name not in kind.properties]
    if missing:
        raise ApiError("PropertiesNotFound", objectType=kind.name, properties=missing)
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ApiError("DuplicateOrderBy", properties=twice)
    types = kind.properties
    unsortable = [name for name in names if types[name].is_list or types[name].name == "geopoint"]
    if unsortable:
        raise ApiError("PropertiesNotSortable", properties=unsortable)
    for name, ascending in reversed(fields):
        there = [each for each in objects if name in each]
        there.sort(key=lambda each: each[name], reverse=not ascending)
        objects = there + [each for each in objects if name not in each]
    return objects


def order_by(request: web.Request) -> list[tuple[str, bool]]:
    """The properties in `orderBy`: `p.name:desc,properties.other`."""
    fields = []
    for each in filter(None, request.query.get("orderBy", "").split(",")):
        name, _, direction = each.partition(":")
        prefix, _, name = name.partition(".")
        if not name:
            raise ApiError("InvalidFields", properties=[each])
        if prefix not in ("p", "properties"):
            raise ApiError("InvalidSortType", invalidSortType=prefix)
        fields.append((name, ascending(direction)))
    return fields


def ascending(direction: str | None) -> bool:
    """Whether a direction is the ascending one, as it is where none is given."""
    if direction not in (None, "", "asc", "desc"):
        raise ApiError("InvalidSortOrder", invalidSortOrder=str(direction))
    return direction != "desc"


def objects_page(
    asked: Any, objects: list[Properties], show: Callable[[Properties], dict[str, Any]]
) -> dict[str, Any]:
    """A page of objects, as a call asks for it."""
    body = page_of(objects, asked, OBJECTS_PAGE, LARGEST_PAGE)
    return body | {"data": [show(each) for each in body["data"]], "totalCount": str(len(objects))}


async def list_objects(request: web.Request) -> web.Response:
    """The objects of a type."""
    ontology, kind = named_type(request)
    objects = ordered(kind, list(ontology.objects(kind).values()), order_by(request))
    return web.json_response(objects_page(request.query, objects, shower(request, kind)))


async def get_object(request: web.Request) -> web.Response:
    """One object by its primary key."""
    ontology, kind = named_type(request)
    show = shower(request, kind)
    return web.json_response(show(ontology.find(kind, request.match_info["key"])))


# Questions.


def body_select(kind: ObjectType, body: dict[str, Any]) -> list[str] | None:
    """The properties that a body asks for by `select`, or by `selectV2`."""
    asked, identifiers = body.get("select") or [], body.get("selectV2") or []
    if not isinstance(asked, list) or not isinstance(identifiers, list):
        raise ApiError("InvalidRequestBody")
    names = [named_property(kind, {"propertyIdentifier": each}) for each in identifiers]
    return checked_select(kind, [*map(str, asked), *names])


def found_page(kind: ObjectType, objects: list[Properties], body: dict[str, Any]) -> web.Response:
    """A page of what was found, ordered and shown as a body asks for it."""
    select, without_rid = body_select(kind, body), body.get("excludeRid") is True
    objects = ordered(kind, objects, _body_order(body.get("orderBy")))
    shown = objects_page(
        body, objects, lambda each: shapes.shown(kind, each, select, without_rid=without_rid)
    )
    return web.json_response(shown)


def _body_order(asked: Any) -> list[tuple[str, bool]]:
    if asked is None:
        return []
    fields = asked.get("fields", []) if isinstance(asked, dict) else None
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        raise ApiError("InvalidRequestBody")
    if asked.get("orderType") not in (None, "fields", "relevance"):
        raise ApiError("InvalidOrderType", orderType=str(asked["orderType"]))
    return [(str(each.get("field")), ascending(each.get("direction"))) for each in fields]


async def search(request: web.Request) -> web.Response:
    """The objects of a type that a query lets pass."""
    ontology, kind = named_type(request)
    body = await json_body(request)
    test = test_of(kind, body.get("where"))
    return found_page(kind, [each for each in ontology.objects(kind).values() if test(each)], body)


async def count(request: web.Request) -> web.Response:
    """How many objects a type has."""
    preview(request)
    ontology, kind = named_type(request)
    return web.json_response({"count": len(ontology.objects(kind))})


async def aggregate_objects(request: web.Request) -> web.Response:
    """Counts and other metrics of the objects of a type."""
    ontology, kind = named_type(request)
    body = await json_body(request)
    test = test_of(kind, body.get("where"))
    objects = (each for each in ontology.objects(kind).values() if test(each))
    return web.json_response(aggregate(kind, objects, body))


# Links.


def _linked(request: web.Request) -> tuple[Ontology, LinkSide, list[Properties]]:
    ontology, kind = named_type(request)
    side = ontology.link(kind.name, request.match_info["link"])
    found = ontology.find(kind, request.match_info["key"])
    return ontology, side, ontology.linked(side, [found])


async def list_linked_objects(request: web.Request) -> web.Response:
    """The objects that one is linked to."""
    ontology, side, objects = _linked(request)
    kind = ontology.object_type(side.target)
    objects = ordered(kind, objects, order_by(request))
    body = objects_page(request.query, objects, shower(request, kind))
    del body["totalCount"]
    return web.json_response(body)


async def get_linked_object(request: web.Request) -> web.Response:
    """One of these objects by its primary key."""
    ontology, side, objects = _linked(request)
    kind = ontology.object_type(side.target)
    show, text = shower(request, kind), request.match_info["linked_key"]
    key = ontology.key(kind, text)
    for found in objects:
        if found[kind.primary_key] == key:
            return web.json_response(show(found))
    raise ApiError(
        "LinkedObjectNotFound",
        linkType=side.name,
        linkedObjectType=kind.name,
        linkedObjectPrimaryKey={kind.primary_key: text},
    )
