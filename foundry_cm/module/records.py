"""Typed records of what people write in TOML and JSON, and one way to refuse what does not fit.

msgspec does the checking; of the libraries compared it adds least to the start of each command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from foundry_cm.errors import CmError, near_miss
from foundry_cm.module.places import Place

T = TypeVar("T")

# How msgspec words what it finds; the tests hold each wording.
_FOUND = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|([^.\[]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_OTHER_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_OTHER_WORD = re.compile(r"Invalid (?:enum )?value .*", re.DOTALL)
_OUTSIDE = re.compile(r"Expected `.+` (>=?|<=?) (.+)")

_LIMITS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_NAMES = {
    "array": "a list",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a time",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "text",
}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A table with known keys; the field `max_replicas` is written `max-replicas`.

    What types cannot say is checked in `__post_init__`, which raises `Wrong`.
    """


class Wrong(ValueError):
    """What is wrong with one key of a record, and how to mend it."""

    def __init__(self, key: str, what: str, fix: str | None = None) -> None:
        super().__init__(what)
        self.key = key
        self.what = what
        self.fix = fix


def as_record(kind: type[T], value: Any, place: Place, code: str = "Settings") -> T:
    """The value as a record of that kind; raises `CmError` that says what is wrong and where.

    The error shows no value, since it may be a secret, except one where a known word is wanted.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, kind, value, place, code) from None


def _refusal(
    error: msgspec.ValidationError, kind: type, value: Any, place: Place, code: str
) -> CmError:
    found = _FOUND.fullmatch(str(error))
    assert found
    what, types, inner = found["what"], _types(inspect.type_info(kind)), value
    name = place.keys[-1] if place.keys else place.file.name
    for index, key in _STEP.findall(found["path"] or ""):
        if index == "...":
            key = _culprit(error, kind, value, inner)
        types = _inside(types, key, inner)
        if index.isdecimal():
            inner, name = inner[int(index)], f"an item of {name}"
        else:  # a key may be empty
            inner, name, place = inner[key], key or '""', place.below(key)
    if isinstance(error.__cause__, Wrong):
        wrong = error.__cause__
        return place.below(wrong.key).error(wrong.what, wrong.fix, code)
    if match := _UNKNOWN.fullmatch(what):
        known = [field.encode_name for field in _fields(types, inner)]
        what, fix = f'There is no key "{match[1]}"', near_miss(match[1], known)
        return place.below(match[1]).error(what, fix, code)
    if match := _MISSING.fullmatch(what):
        fix = _example(types, match[1], inner, place)
        return place.below(match[1]).error(f"{match[1]} is missing", fix, code)
    if match := _OTHER_TYPE.fullmatch(what):
        wanted, got = map(_said, match.groups())
        return place.error(f"{name} has to be {wanted}, not {got}", code=code)
    if match := _OUTSIDE.fullmatch(what):
        return place.error(
            f"{name} has to be {_LIMITS[match[1]]} {match[2].removesuffix('.0')}", code=code
        )
    if _OTHER_WORD.fullmatch(what):
        fix = near_miss(str(inner), _words(types))
        return place.error(f'{name} cannot be "{inner}"', fix, code)
    return place.error(f"{name}: {what}", code=code)


def _culprit(error: msgspec.ValidationError, kind: type, whole: Any, table: dict[str, Any]) -> str:
    """The key of a mapping with free keys that msgspec refuses, and does not name."""
    items = dict(table)
    try:
        for key, item in items.items():
            table.clear()
            table[key] = item
            try:
                msgspec.convert(whole, kind)
            except msgspec.ValidationError as again:
                if str(again) == str(error):
                    return key
    finally:
        table.clear()
        table.update(items)
    raise error


def _types(node: inspect.Type) -> list[inspect.Type]:
    """The types that a value may have, without their limits."""
    if isinstance(node, inspect.Metadata):
        return _types(node.type)
    if isinstance(node, inspect.UnionType):
        return [each for part in node.types for each in _types(part)]
    return [node]


def _inside(types: list[inspect.Type], key: str, value: Any) -> list[inspect.Type]:
    """The types of what lies under a key, or an index, of a value."""
    found: list[inspect.Type] = []
    for each in types:
        if isinstance(each, inspect.StructType) and each.tag_field == key:
            found.append(inspect.LiteralType((str(each.tag),)))
        elif isinstance(each, inspect.DictType):
            found += _types(each.value_type)
        elif isinstance(each, inspect.ListType | inspect.VarTupleType):
            found += _types(each.item_type)
    fields = (field for field in _fields(types, value) if field.encode_name == key)
    return found + [each for field in fields for each in _types(field.type)]


def _fields(types: list[inspect.Type], value: Any) -> Iterator[inspect.Field]:
    """The fields of the record that a value is meant to be: of several, its tag says which."""
    for each in types:
        if isinstance(each, inspect.StructType) and (
            each.tag_field is None or value.get(each.tag_field) == each.tag
        ):
            yield from each.fields


def _words(types: list[inspect.Type]) -> list[str]:
    literals = (each for each in types if isinstance(each, inspect.LiteralType))
    return [str(word) for each in literals for word in each.values]


def _example(types: list[inspect.Type], key: str, value: Any, place: Place) -> str:
    """What to write for a key that is missing: a known word, or the example of its field."""
    if words := _words(_inside(types, key, value)):
        return near_miss("", words)
    field = next(field for field in _fields(types, value) if field.encode_name == key)
    shown = getattr(field.type, "extra_json_schema", None) or {}
    if "examples" not in shown:
        return f"Add {key}."
    example = json.dumps(shown["examples"][0], ensure_ascii=False)
    pair = f"{key} = {example}" if place.file.suffix == ".toml" else f'"{key}": {example}'
    return f"Write, for example: {pair}"


def _said(names: str) -> str:
    """Types in plain words; that null is taken as well helps nobody."""
    if names == "null":
        return names
    return " or ".join(_NAMES.get(name, name) for name in names.split(" | ") if name != "null")
