"""The routes of `client.ontologies.Action` and of action types."""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.access import check_scope
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies import actions, shapes
from foundry_cm.local.platform.ontologies.edits import Edit
from foundry_cm.local.platform.ontologies.routes import ONE, TYPES_PAGE, ontology_of
from foundry_cm.local.platform.ontologies.schema import ActionType
from foundry_cm.local.platform.ontologies.store import Ontology
from foundry_cm.local.platform.registry import REGISTRY
from foundry_cm.local.platform.relay import RELAY
from foundry_cm.local.platform.requests import json_body, page

MODES = ("VALIDATE_AND_EXECUTE", "VALIDATE_ONLY")
RETURNED = ("NONE", "ALL", "ALL_V2_WITH_DELETIONS")


def routes() -> list[web.RouteDef]:
    """Every route of actions; the names say at which point faults strike."""
    action = f"{ONE}/actions/{{action}}"
    return [
        web.get(f"{ONE}/actionTypes", list_action_types, name="list-actions"),
        web.get(f"{ONE}/actionTypes/{{action}}", get_action_type),
        web.post(f"{action}/apply", apply, name="apply-action"),
        web.post(f"{action}/applyBatch", apply_batch, name="apply-batch"),
    ]


def _named(request: web.Request) -> tuple[Ontology, ActionType]:
    ontology, name = ontology_of(request), request.match_info["action"]
    if name not in ontology.schema.actions:
        raise ApiError("ActionTypeNotFound", actionType=name)
    return ontology, ontology.schema.actions[name]


async def list_action_types(request: web.Request) -> web.Response:
    """The action types."""
    schema = ontology_of(request).schema
    shown = [shapes.action_type(each, schema) for each in schema.actions.values()]
    return page(request, shown, TYPES_PAGE, TYPES_PAGE)


async def get_action_type(request: web.Request) -> web.Response:
    """One action type."""
    ontology, action = _named(request)
    return web.json_response(shapes.action_type(action, ontology.schema))


def _option(body: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    options = body.get("options") or {}
    chosen = options.get(name) if isinstance(options, dict) else ""
    chosen = known[0] if chosen is None else chosen
    if chosen not in known:
        raise ApiError("InvalidRequestBody")
    return str(chosen)


async def apply(request: web.Request) -> web.Response:
    """Applies an action once; one whose parameters are not valid is answered with 200 and does nothing."""
    check_scope(request, "api:ontologies-write")
    ontology, action = _named(request)
    body = await json_body(request)
    mode, returned = _option(body, "mode", MODES), _option(body, "returnEdits", RETURNED)
    if mode == "VALIDATE_ONLY" and returned != "NONE":
        raise ApiError("InvalidApplyActionOptionCombination")
    asked = actions.read_request(ontology, action, body.get("parameters"))
    answer: dict[str, Any] = {"validation": asked.validation}
    if mode == "VALIDATE_ONLY" or asked.missing:
        return web.json_response(answer)
    edits = _carry_out(request, ontology, [asked])
    answer["operationId"] = f"ri.actions.main.action.{uuid.uuid4()}"
    if returned != "NONE":
        deletions = returned == "ALL_V2_WITH_DELETIONS"
        answer["edits"] = actions.shown(ontology, edits, with_deletions=deletions)
    return web.json_response(answer)


async def apply_batch(request: web.Request) -> web.Response:
    """Applies an action several times: all of them, or none."""
    check_scope(request, "api:ontologies-write")
    ontology, action = _named(request)
    body = await json_body(request)
    returned, requests = _option(body, "returnEdits", RETURNED[:2]), body.get("requests")
    if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
        raise ApiError("InvalidRequestBody")
    asked = [actions.read_request(ontology, action, each.get("parameters")) for each in requests]
    if any(each.missing for each in asked):
        raise ApiError("ActionValidationFailed", actionType=action.name)
    edits = _carry_out(request, ontology, asked)
    if returned == "NONE":
        return web.json_response({})
    return web.json_response({"edits": actions.shown(ontology, edits, with_deletions=False)})


def _carry_out(
    request: web.Request, ontology: Ontology, asked: list[actions.Request]
) -> list[Edit]:
    """Edit the objects as the actions say; where one of them fails, none is edited."""
    first = ontology.edits.count
    found = [actions.edits_of(ontology, each, first + n) for n, each in enumerate(asked)]
    edits = [edit for each in found for edit in each]
    if relay := request.app.get(RELAY):
        relay.check_edits(name for edit in edits for name in edit.types)
    actions.check_distinct(edits)
    for each, its in zip(asked, found, strict=True):
        ontology.edits.record(each.action.name, dict(each.sent), its)
    request.app[REGISTRY].activity.news()
    return edits
