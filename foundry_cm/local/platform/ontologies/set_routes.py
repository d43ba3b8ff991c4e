"""The routes of `client.ontologies.OntologyObjectSet`."""

from __future__ import annotations

from aiohttp import web

from foundry_cm.local.platform.ontologies.aggregations import aggregate
from foundry_cm.local.platform.ontologies.object_sets import ObjectSets
from foundry_cm.local.platform.ontologies.routes import ONE, found_page, ontology_of
from foundry_cm.local.platform.requests import json_body, preview

SETS = f"{ONE}/objectSets"
OBJECT_SETS = web.AppKey("object_sets", ObjectSets)


def routes() -> list[web.RouteDef]:
    """Every route of object sets."""
    return [
        web.post(f"{SETS}/loadObjects", load, name="list-set"),
        web.post(f"{SETS}/aggregate", aggregate_set, name="read-set"),
        web.post(f"{SETS}/createTemporary", create_temporary),
        web.get(f"{SETS}/{{object_set}}", get),
    ]


async def load(request: web.Request) -> web.Response:
    """The objects of a set."""
    ontology, body = ontology_of(request), await json_body(request)
    kind, objects = request.app[OBJECT_SETS].objects(ontology, body.get("objectSet"))
    return found_page(kind, objects, body)


async def aggregate_set(request: web.Request) -> web.Response:
    """Counts and other metrics of a set."""
    ontology, body = ontology_of(request), await json_body(request)
    kind, objects = request.app[OBJECT_SETS].objects(ontology, body.get("objectSet"))
    return web.json_response(aggregate(kind, objects, body))


async def create_temporary(request: web.Request) -> web.Response:
    """A name for a set."""
    preview(request)
    ontology, asked = ontology_of(request), (await json_body(request)).get("objectSet")
    sets = request.app[OBJECT_SETS]
    sets.objects(ontology, asked)
    return web.json_response({"objectSetRid": sets.name(asked)})


async def get(request: web.Request) -> web.Response:
    """The set that has that name."""
    preview(request)
    ontology_of(request)
    return web.json_response(request.app[OBJECT_SETS].described(request.match_info["object_set"]))
