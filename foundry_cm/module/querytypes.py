"""The types and values of Foundry's query API, and those that a module posts and gets.

An application does not see the schema that a module posts. The platform shows it a query with types of
its own (`QueryDataType` of foundry-platform-sdk 1.111.0) and takes and gives values in an encoding of
its own (`DataValue`): a long is a text there, and a map of an ontology a list of entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foundry_cm.module import datatypes
from foundry_cm.module.functions import Function

QueryType = dict[str, Any]

VERSION = "0.0.0"
_SAME = {"boolean", "date", "double", "float", "integer", "long", "string", "timestamp"}
# The union of the API has no such types; that whole numbers of fewer bits show as integers is inferred.
_WHOLE = {"byte", "short"}


def query_type(data_type: datatypes.DataType) -> QueryType:
    """The type of the query API for one that a module posts."""
    kind = str(data_type.get("type", "unknown"))
    if kind in _SAME:
        return {"type": kind}
    if kind in _WHOLE:
        return {"type": "integer"}
    if kind in ("list", "set"):
        inner = query_type(datatypes.items_of(data_type))
        return {"type": "array" if kind == "list" else "set", "subType": inner}
    if kind == "map":
        inner = data_type["map"]
        return {
            "type": "entrySet",
            "keyType": query_type(inner["keysType"]),
            "valueType": query_type(inner["valuesType"]),
        }
    if kind == "optionalType":
        wrapped = query_type(data_type["optionalType"]["wrappedType"])
        return {"type": "union", "unionTypes": [wrapped, {"type": "null"}]}
    if kind == "anonymousCustomType" and (fields := datatypes.fields_of(data_type)):
        return {
            "type": "struct",
            "fields": [
                {"name": name, "fieldType": query_type(each)} for name, each in fields.items()
            ],
        }
    return {"type": "unsupported", "unsupportedType": kind, "params": {}}


def without_entry_sets(told: QueryType) -> QueryType:
    """The type as the functions API can say it, which has no entry sets."""
    if told["type"] == "entrySet":
        return {"type": "unsupported", "unsupportedType": "map", "params": {}}
    shown = dict(told)
    if "subType" in told:
        shown["subType"] = without_entry_sets(told["subType"])
    if "unionTypes" in told:
        shown["unionTypes"] = [without_entry_sets(each) for each in told["unionTypes"]]
    if "fields" in told:
        shown["fields"] = [
            {**each, "fieldType": without_entry_sets(each["fieldType"])} for each in told["fields"]
        ]
    return shown


def parameters(function: Function) -> dict[str, dict[str, Any]]:
    """The parameters of a function as the query API defines them."""
    return {
        item["name"]: {
            "dataType": query_type(item["dataType"]),
            "required": item.get("required", True),
        }
        for item in function.inputs
    }


def definition(function: Function) -> dict[str, Any]:
    """The parameters and the output of a function, as the query API defines them."""
    return {"parameters": parameters(function), "output": query_type(function.output)}


def to_module(value: Any, told: QueryType, *, strict: bool) -> Any:
    """A value of the API as the module has it.

    What is not of the type is left as it is, for whoever checks it to be named; `strict`: a long that
    is no text is not of the type.
    """
    kind = told["type"]
    if kind == "long" and isinstance(value, str):
        return int(value) if value.removeprefix("-").isdecimal() else value
    if kind == "long" and isinstance(value, int) and strict:
        # In the API a long is a text; as a number it is none, and is refused as a module refuses text.
        return str(value)

    def inside(each: Any, inner: QueryType) -> Any:
        return to_module(each, inner, strict=strict)

    if kind == "entrySet" and isinstance(value, list) and all(map(_is_entry, value)):
        return {str(each["key"]): inside(each.get("value"), told["valueType"]) for each in value}
    return _inside(value, told, inside)


def to_api(value: Any, told: QueryType, *, entries: bool) -> Any:
    """A value of the module as the API has it; `entries`: maps are lists of entries there."""
    kind = told["type"]
    if kind == "long" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind == "entrySet" and isinstance(value, dict) and entries:
        return [
            {"key": key, "value": to_api(each, told["valueType"], entries=True)}
            for key, each in value.items()
        ]
    return _inside(value, told, lambda each, inner: to_api(each, inner, entries=entries))


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "key" in value and value.keys() <= {"key", "value"}


def _inside(value: Any, told: QueryType, convert: Any) -> Any:
    kind = told["type"]
    if kind in ("array", "set") and isinstance(value, list):
        if _is_plain(told["subType"]):
            return value
        return [convert(each, told["subType"]) for each in value]
    if kind == "struct" and isinstance(value, dict):
        fields = {each["name"]: each["fieldType"] for each in told["fields"]}
        return {
            name: convert(each, fields[name]) if name in fields else each
            for name, each in value.items()
        }
    if kind == "entrySet" and isinstance(value, dict):
        return {name: convert(each, told["valueType"]) for name, each in value.items()}
    if kind == "union" and value is not None:
        others = [each for each in told["unionTypes"] if each["type"] != "null"]
        return convert(value, others[0]) if len(others) == 1 else value
    return value


def _is_plain(told: QueryType) -> bool:
    """Whether the values of a type are the same on both sides: vectors have many thousands."""
    return told["type"] not in ("long", "array", "set", "struct", "entrySet", "union")


def differences(local: dict[str, Any], deployed: dict[str, Any]) -> Iterable[str]:
    """Where two definitions of a query differ, each `{"parameters": ..., "output": ...}`."""
    mine, theirs = local["parameters"], deployed["parameters"]
    for name in sorted(mine.keys() - theirs.keys()):
        yield f"parameter {name} is not deployed"
    for name in sorted(theirs.keys() - mine.keys()):
        yield f"parameter {name} is deployed and not here"
    for name in sorted(mine.keys() & theirs.keys()):
        yield from _differ(mine[name]["dataType"], theirs[name]["dataType"], f"parameter {name}")
        if mine[name]["required"] != theirs[name]["required"]:
            yield f"parameter {name} is {_needed(mine[name])} here, and {_needed(theirs[name])} deployed"
    yield from _differ(local["output"], deployed["output"], "the output")


def _needed(parameter: dict[str, Any]) -> str:
    return "required" if parameter["required"] else "optional"


def _differ(mine: QueryType, theirs: QueryType, place: str) -> Iterable[str]:
    if "unsupported" in (mine["type"], theirs["type"]):
        return
    if mine["type"] != theirs["type"]:
        yield f"{place} is {mine['type']} here, and {theirs['type']} deployed"
    elif mine["type"] == "struct":
        ours, others = (
            {each["name"]: each["fieldType"] for each in side["fields"]} for side in (mine, theirs)
        )
        if ours.keys() != others.keys():
            yield (
                f"{place} has the fields {', '.join(sorted(ours))} here, and "
                f"{', '.join(sorted(others))} deployed"
            )
        for name in sorted(ours.keys() & others.keys()):
            yield from _differ(ours[name], others[name], f"{place}.{name}")
    elif "subType" in mine:
        yield from _differ(mine["subType"], theirs["subType"], f"{place}[]")
    elif mine["type"] == "union" and len(mine["unionTypes"]) == len(theirs["unionTypes"]):
        for one, other in zip(mine["unionTypes"], theirs["unionTypes"], strict=True):
            yield from _differ(one, other, place)
