"""The routes of `client.ontologies` that read: types, objects, links and questions about objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies import shapes
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.schema import LinkSide, ObjectType
from foundry_cm.local.platform.ontologies.store import ONTOLOGY, Ontology
from foundry_cm.local.platform.requests import page, page_of

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
    ]


def ontology_of(request: web.Request) -> Ontology:
    """The Ontology that a call names, by its API name or its RID."""
    ontology, asked = request.app[ONTOLOGY], request.match_info["ontology"]
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
    ontology = request.app[ONTOLOGY]
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
        if prefix not in ("p", "properties") or not name:
            raise ApiError("InvalidFields", properties=[each])
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
