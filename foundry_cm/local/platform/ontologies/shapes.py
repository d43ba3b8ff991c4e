"""How the API shows types and objects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.schema import (
    ActionType,
    EditRecord,
    LinkSide,
    ObjectType,
    Parameter,
    Schema,
)
from foundry_cm.local.platform.ontologies.values import ValueType, render
from foundry_cm.local.platform.resources import NAMESPACE


def rid(kind: str, *parts: str) -> str:
    """The resource identifier of a type: the same for the same names, so runs can be compared."""
    return f"ri.ontology.main.{kind}.{uuid.uuid5(NAMESPACE, '/'.join(parts))}"


def object_rid(kind: ObjectType, key: Any) -> str:
    """The resource identifier of an object."""
    unique = uuid.uuid5(NAMESPACE, f"{kind.name}/{render(kind.key_type, key)}")
    return f"ri.phonograph2-objects.main.object.{unique}"


def ontology(schema: Schema) -> dict[str, Any]:
    """An Ontology, without what is in it."""
    return {
        "apiName": schema.name,
        "displayName": schema.name,
        "description": "The objects in data/ontology/ of this module",
        "rid": schema.rid,
    }


def data_type(kind: ValueType) -> dict[str, Any]:
    """The type of a property."""
    if kind.is_list:
        return {"type": "array", "subType": data_type(kind.item), "reducers": []}
    return {"type": kind.name}


def object_type(kind: ObjectType) -> dict[str, Any]:
    """An object type with its properties."""
    return _given(
        {
            "apiName": kind.name,
            "displayName": kind.name,
            "pluralDisplayName": kind.name,
            "description": kind.description,
            "status": "ACTIVE",
            "visibility": "NORMAL",
            "icon": {"type": "blueprint", "name": "cube", "color": "#4C90F0"},
            "primaryKey": kind.primary_key,
            "titleProperty": kind.title,
            "rid": rid("object-type", kind.name),
            "properties": {
                name: {
                    "displayName": name,
                    "dataType": data_type(each),
                    "rid": rid("property", kind.name, name),
                    "status": {"type": "active"},
                    "visibility": "NORMAL",
                }
                for name, each in kind.properties.items()
            },
        }
    )


def link_side(side: LinkSide) -> dict[str, Any]:
    """A link, as the object type that it leads from sees it."""
    return _given(
        {
            "apiName": side.name,
            "displayName": side.name,
            "status": "ACTIVE",
            "objectTypeApiName": side.target,
            "cardinality": "ONE" if side.is_one else "MANY",
            "foreignKeyPropertyApiName": side.foreign_key if side.is_forward else None,
            "linkTypeRid": rid("relation", side.of, side.link),
        }
    )


def action_type(action: ActionType, schema: Schema) -> dict[str, Any]:
    """An action type with its parameters and rules."""
    return _given(
        {
            "apiName": action.name,
            "displayName": action.name,
            "description": action.description,
            "status": "ACTIVE",
            "rid": f"ri.actions.main.action-type.{uuid.uuid5(NAMESPACE, action.name)}",
            "parameters": {
                name: {
                    "displayName": name,
                    "dataType": parameter_type(each),
                    "required": each.required,
                }
                for name, each in action.parameters.items()
            },
            "operations": [_rule(edit, action, schema) for edit in action.edits],
        }
    )


def parameter_type(parameter: Parameter) -> dict[str, Any]:
    """The type of a parameter."""
    name = parameter.object_type
    shown: dict[str, Any]
    if parameter.kind is not None:
        shown = {"type": parameter.kind.name}
    else:
        shown = {"type": "object", "objectApiName": name, "objectTypeApiName": name}
    return {"type": "array", "subType": shown} if parameter.is_list else shown


RULES = {
    "create": "createObject",
    "modify": "modifyObject",
    "delete": "deleteObject",
    "link": "createLink",
    "unlink": "deleteLink",
}


def _rule(edit: EditRecord, action: ActionType, schema: Schema) -> dict[str, Any]:
    rule = {"type": RULES[edit.verb]}
    if edit.verb in ("link", "unlink"):
        of, _, link = str(edit.link or edit.unlink).partition(".")
        side = schema.links[of][link]
        return rule | {
            "linkTypeApiNameAtoB": side.name,
            "linkTypeApiNameBtoA": side.reverse,
            "aSideObjectTypeApiName": side.source,
            "bSideObjectTypeApiName": side.target,
        }
    held = edit.modify or edit.delete
    edited = edit.create or action.parameters[str(held)].object_type
    return rule | {"objectTypeApiName": str(edited)}


def shown(
    kind: ObjectType,
    found: Properties,
    select: Iterable[str] | None = None,
    *,
    without_rid: bool = False,
) -> dict[str, Any]:
    """An object with those of its properties that are asked for; one that is null is left out."""
    key = found[kind.primary_key]
    head = {"__primaryKey": render(kind.key_type, key), "__apiName": kind.name}
    if not without_rid:
        head = {"__rid": object_rid(kind, key), **head}
    if kind.title in found:
        head["__title"] = str(render(kind.properties[kind.title], found[kind.title]))
    wanted = (
        kind.properties if select is None else {kind.primary_key: None, **dict.fromkeys(select)}
    )
    return head | {
        name: render(kind.properties[name], found[name]) for name in wanted if name in found
    }


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
