"""Actions: whether their parameters fit, and the edits that follow from them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.edits import Edit
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.schema import (
    ActionType,
    EditRecord,
    ObjectType,
    Parameter,
)
from foundry_cm.local.platform.ontologies.shapes import parameter_type
from foundry_cm.local.platform.ontologies.store import Ontology
from foundry_cm.local.platform.ontologies.values import ValueType, parse, render
from foundry_cm.local.platform.resources import NAMESPACE, USER_ID


@dataclass(frozen=True)
class Request:
    """One application of an action: what was sent, and what it means. Parameters that are null are left out.

    The value of an object parameter is the primary key; `missing` are required parameters without one.
    """

    action: ActionType
    sent: Mapping[str, Any]
    values: dict[str, Any]
    missing: list[str]

    @property
    def validation(self) -> dict[str, Any]:
        """The result of the validation, as the API shows it."""
        parameters: dict[str, Any] = {
            name: {
                "result": "INVALID" if name in self.missing else "VALID",
                "evaluatedConstraints": [],
                "required": each.required,
            }
            for name, each in self.action.parameters.items()
        }
        result = "INVALID" if self.missing else "VALID"
        return {"result": result, "submissionCriteria": [], "parameters": parameters}


def read_request(ontology: Ontology, action: ActionType, sent: Any) -> Request:
    """The parameters of an action, each as its type has it; raises the `ApiError` of one that does not fit."""
    if not isinstance(sent, dict):
        raise ApiError("InvalidRequestBody")
    if unknown := [name for name in sent if name not in action.parameters]:
        raise ApiError(
            "ParametersNotFound",
            actionType=action.name,
            unknownParameterIds=unknown,
            configuredParameterIds=list(action.parameters),
        )
    values, missing = {}, []
    for name, parameter in action.parameters.items():
        if sent.get(name) is not None:
            values[name] = _value(ontology, name, parameter, sent[name])
        elif parameter.required:
            missing.append(name)
    return Request(action, sent, values, missing)


def _value(ontology: Ontology, name: str, parameter: Parameter, value: Any) -> Any:
    if parameter.kind is not None:
        return _parsed(parameter.kind, name, parameter, value)
    kind = ontology.object_type(str(parameter.object_type))
    key_type = ValueType(kind.key_type.name, parameter.is_list)
    found = _parsed(key_type, name, parameter, value)
    objects = ontology.objects(kind)
    for key in found if parameter.is_list else [found]:
        if key not in objects:
            shown = {kind.primary_key: render(kind.key_type, key)}
            raise ApiError("ParameterObjectNotFound", objectType=kind.name, primaryKey=shown)
    return found


def _parsed(kind: ValueType, name: str, parameter: Parameter, value: Any) -> Any:
    try:
        return parse(kind, value, as_text=True)
    except ValueError:
        raise ApiError(
            "InvalidParameterValue",
            parameterBaseType=kind.api_name,
            parameterDataType=parameter_type(parameter),
            parameterId=name,
            parameterValue=value,
        ) from None


def edits_of(ontology: Ontology, request: Request, number: int) -> list[Edit]:
    """What an action does to the objects as they are now; `number` tells it from the ones before."""
    return [
        _edit(ontology, request, each, f"{request.action.name}/{number}/{place}")
        for place, each in enumerate(request.action.edits)
        if _is_possible(each, request)
    ]


def _is_possible(edit: EditRecord, request: Request) -> bool:
    """Whether the objects that an edit is about were given: optional ones may not be."""
    held = filter(None, (edit.modify, edit.delete, edit.from_, edit.to))
    return all(name in request.values for name in held)


def _edit(ontology: Ontology, request: Request, said: EditRecord, seed: str) -> Edit:
    if said.verb in ("link", "unlink"):
        of, _, name = str(said.link or said.unlink).partition(".")
        side = ontology.link(of, name)
        pair = (request.values[str(said.from_)], request.values[str(said.to)])
        if said.link and pair in ontology.pairs(of, name):
            raise ApiError("LinkAlreadyExists")
        return Edit(said.verb, side=side, pair=pair)
    held = str(said.modify or said.delete)
    edited = said.create or request.action.parameters[held].object_type
    kind = ontology.object_type(str(edited))
    if said.delete:
        return Edit("delete", kind, request.values[held])
    written = _written(kind, said, request, seed)
    if said.modify:
        before = ontology.objects(kind)[request.values[held]]
        after = {name: value for name, value in (before | written).items() if value is not None}
        return Edit("modify", kind, request.values[held], after)
    after = {name: value for name, value in written.items() if value is not None}
    key = after.get(kind.primary_key)
    if key is None:
        raise ApiError(
            "ObjectEditMissingPrimaryKey", objectType=kind.name, primaryKey=kind.primary_key
        )
    if key in ontology.objects(kind):
        raise ApiError("ObjectAlreadyExists")
    return Edit("create", kind, key, after)


def _written(kind: ObjectType, said: EditRecord, request: Request, seed: str) -> Properties:
    """The properties that an edit writes: null for a parameter that is null, none for one that is not there."""
    moment = datetime.now(UTC)
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    given = {name: held for name, held in said.set.items() if held in request.sent}
    found: Properties = {name: request.values.get(held) for name, held in given.items()}
    found |= {name: parse(kind.properties[name], value) for name, value in said.values.items()}
    found |= {
        name: moment if kind.properties[name].name == "timestamp" else moment.date()
        for name in said.now
    }
    found |= dict.fromkeys(said.user, USER_ID)
    found |= {name: str(uuid.uuid5(NAMESPACE, f"{seed}/{name}")) for name in said.unique}
    return found


def check_distinct(edits: list[Edit]) -> None:
    """Raise the `ApiError` of edits of which two are of the same object or link."""
    edited = [
        (each.side.of, each.side.link, each.pair) if each.side else (each.kind, each.key)
        for each in edits
    ]
    hashable = [(getattr(first, "name", first), *rest) for first, *rest in edited]
    if len(set(hashable)) < len(hashable):
        raise ApiError("ActionContainsDuplicateEdits")


# As the API shows edits.

_SHOWN = {"create": "addObject", "modify": "modifyObject", "delete": "deleteObject"}
_COUNTS = {
    "create": "addedObjectCount",
    "modify": "modifiedObjectsCount",
    "delete": "deletedObjectsCount",
    "link": "addedLinksCount",
    "unlink": "deletedLinksCount",
}


def shown(ontology: Ontology, edits: list[Edit], *, with_deletions: bool) -> dict[str, Any]:
    """The edits of an action, for a caller that asks for them."""
    counts = dict.fromkeys(_COUNTS.values(), 0)
    listed = []
    for each in edits:
        counts[_COUNTS[each.verb]] += 1
        if with_deletions or each.verb not in ("delete", "unlink"):
            listed.append(_shown(ontology, each))
    return {"type": "edits", "edits": listed, **counts}


def _shown(ontology: Ontology, edit: Edit) -> dict[str, Any]:
    if edit.side is None:
        assert edit.kind is not None
        key = render(edit.kind.key_type, edit.key)
        return {"type": _SHOWN[edit.verb], "objectType": edit.kind.name, "primaryKey": key}
    side = edit.side
    kinds = (ontology.object_type(side.source), ontology.object_type(side.target))
    a, b = (
        {"objectType": kind.name, "primaryKey": render(kind.key_type, key)}
        for kind, key in zip(kinds, edit.pair, strict=True)
    )
    return {
        "type": "addLink" if edit.verb == "link" else "deleteLink",
        "linkTypeApiNameAtoB": side.name,
        "linkTypeApiNameBtoA": side.reverse,
        "aSideObject": a,
        "bSideObject": b,
    }
