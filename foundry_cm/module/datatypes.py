"""Foundry's data types as a compute module posts them: checking, sampling and comparing values.

The encodings are those that the official SDK posts (`compute_modules.function_registry.types`,
SDK 0.34): a data type is `{"type": "string", "string": {}}`, a list holds `elementsType`, a map
`keysType` and `valuesType`, an optional `wrappedType`, and a record
`{"type": "anonymousCustomType", "anonymousCustomType": {"fields": {...}}}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from foundry_cm.errors import near_miss

DataType = dict[str, Any]

_WHOLE = {"byte": 8, "short": 16, "integer": 32, "long": 64}
_TIMESTAMP = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"
_DECIMAL = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


def items_of(data_type: DataType) -> DataType:
    """The element type of a list or set; the TypeScript SDK of 2024 spells the key differently."""
    inner = data_type[data_type["type"]]
    return inner.get("elementsType") or inner.get("elementTypes") or {"type": "unknown"}


def fields_of(data_type: DataType) -> dict[str, DataType]:
    """The fields of a record; some serializers write an empty map as `[]` or `null`, or leave it out.

    Raises `TypeError` where the fields are anything else.
    """
    fields = data_type["anonymousCustomType"].get("fields") or {}
    if not isinstance(fields, dict):
        raise TypeError('"fields" is no map from names to types')
    return fields


def json_schema(data_type: DataType) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the values of a Foundry data type.

    A record without fields is a type that the client could not read: it takes any value.
    """
    kind = data_type.get("type", "unknown")
    if kind in _WHOLE:
        bound = 2 ** (_WHOLE[kind] - 1)
        return {"type": "integer", "minimum": -bound, "maximum": bound - 1}
    if kind in ("list", "set"):
        return {"type": "array", "items": json_schema(items_of(data_type))}
    if kind == "map":
        return {
            "type": "object",
            "additionalProperties": json_schema(data_type["map"]["valuesType"]),
        }
    if kind == "optionalType":
        return {"anyOf": [json_schema(data_type["optionalType"]["wrappedType"]), {"type": "null"}]}
    if kind == "anonymousCustomType":
        fields = fields_of(data_type)
        if not fields:
            return {}
        required = [name for name, inner in fields.items() if inner.get("type") != "optionalType"]
        return record_schema({name: json_schema(inner) for name, inner in fields.items()}, required)
    plain: dict[str, dict[str, Any]] = {
        "boolean": {"type": "boolean"},
        "float": {"type": "number"},
        "double": {"type": "number"},
        "string": {"type": "string"},
        "binary": {"type": "string"},
        "decimal": {"type": ["string", "number"], "pattern": _DECIMAL},
        "date": {"type": "string", "format": "date"},
        "timestamp": {"type": "string", "pattern": _TIMESTAMP},
    }
    return plain.get(str(kind), {})


def record_schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The JSON Schema of a record that has these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_PLAIN: dict[str, set[type]] = {"number": {int, float}, "string": {str}, "boolean": {bool}}


def _check_items(
    checker: Any, items: dict[str, Any], instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    """The keyword `items`, at once for a list of plain values: vectors have many thousands."""
    plain = _PLAIN.get(items.get("type", "")) if len(items) == 1 else None
    if plain and isinstance(instance, list) and set(map(type, instance)) <= plain:
        return
    yield from Draft202012Validator.VALIDATORS["items"](checker, items, instance, schema)


_Validator = extend(  # type: ignore[no-untyped-call]  # jsonschema annotates only some of itself
    Draft202012Validator, {"items": _check_items}
)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator for many values of one schema; dates are checked for real days."""
    checker: Draft202012Validator = _Validator(schema, format_checker=FormatChecker(["date"]))
    return checker


def problem(checker: Draft202012Validator, value: Any, name: str) -> tuple[str, str | None] | None:
    """What is wrong with a value and how to mend it, or None where it fits.

    The place is written as a path from `name`, such as `event.lines[2].price`.
    """
    errors = list(checker.iter_errors(value))
    if not errors:
        return None
    # A mistyped name shows up twice, as an unknown field and a missing one: the first says more.
    unknown = [error for error in errors if error.validator == "additionalProperties"]
    error = best_match(unknown or errors)
    assert error is not None
    while error.validator == "anyOf" and error.context:
        error = error.context[0]
    return _explain(error, name)


def _explain(error: ValidationError, name: str) -> tuple[str, str | None]:
    path = name + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    schema: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    fields = schema.get("properties", {})
    if error.validator == "required":
        missing = next(field for field in schema["required"] if field not in instance)
        return f"{path}.{missing} is missing", f"Add it. Its type is {_type_name(fields[missing])}."
    if error.validator == "additionalProperties":
        extra = next(field for field in instance if field not in fields)
        return f"{path}.{extra} is not a field of this record", near_miss(extra, fields)
    if error.validator in ("minimum", "maximum"):
        bits = schema["maximum"].bit_length() + 1
        return (
            f"{path} is {instance}, too large for a whole number of {bits} bits",
            "A larger number needs Long, from compute_modules.function_registry.types.",
        )
    return f"{path} is {_shown(instance)}, not {_type_name(schema)}", None


def _type_name(schema: dict[str, Any]) -> str:
    """A JSON Schema in the words of the person who fills it in."""
    if "anyOf" in schema:
        return f"{_type_name(schema['anyOf'][0])} or null"
    if schema.get("pattern") == _TIMESTAMP:
        return "a timestamp such as 2026-01-31T12:00:00Z"
    if schema.get("pattern") == _DECIMAL:
        return "a decimal number as text"
    if schema.get("format") == "date":
        return "a date such as 2026-01-31"
    names = {
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "array": "a list",
        "object": "a record",
    }
    return names.get(schema.get("type", ""), "any value")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a record"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else text[:57] + "..."


def sample(data_type: DataType, *, edge: bool = False) -> Any:
    """A valid value of a data type: an ordinary one, or one at the edge of what is valid."""
    kind = data_type.get("type", "unknown")
    if kind in ("list", "set"):
        return [sample(items_of(data_type), edge=edge)]
    if kind == "map":
        inner = data_type["map"]
        return {str(sample(inner["keysType"], edge=edge)): sample(inner["valuesType"], edge=edge)}
    if kind == "optionalType":
        return None if edge else sample(data_type["optionalType"]["wrappedType"])
    if kind == "anonymousCustomType":
        fields = fields_of(data_type)
        return {name: sample(inner, edge=edge) for name, inner in fields.items()}
    if kind in _WHOLE:
        return -(2 ** (_WHOLE[kind] - 1)) if edge else 1
    ordinary, extreme = {
        "boolean": (True, False),
        "float": (0.5, -1e-38),
        "double": (0.5, -1e-300),
        "decimal": ("1.5", "-0.000000000000000001"),
        "date": ("2026-01-31", "2024-02-29"),
        "timestamp": ("2026-01-31T12:00:00Z", "1970-01-01T00:00:00.000001Z"),
        "binary": ("c29tZSBieXRlcw==", ""),
    }.get(kind, ("some text", 'é 漢字 👩‍🔬 "quoted"\n\\ end'))
    return extreme if edge else ordinary


def flatten(data_type: DataType, path: str = "") -> Iterator[tuple[str, str]]:
    """Each place inside a data type with the name of its type, such as `.lines[].price`, `float`."""
    kind = data_type.get("type", "unknown")
    yield path, "record" if kind == "anonymousCustomType" else str(kind)
    if kind in ("list", "set"):
        yield from flatten(items_of(data_type), f"{path}[]")
    elif kind == "map":
        yield from flatten(data_type["map"]["keysType"], f"{path}{{key}}")
        yield from flatten(data_type["map"]["valuesType"], f"{path}{{value}}")
    elif kind == "optionalType":
        yield from flatten(data_type["optionalType"]["wrappedType"], f"{path}?")
    elif kind == "anonymousCustomType":
        for name, inner in fields_of(data_type).items():
            yield from flatten(inner, f"{path}.{name}")
