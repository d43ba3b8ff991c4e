"""Objects and links as files have them: `data/ontology/TYPE.jsonl`, and `TYPE.LINK.jsonl` for many to many.

Each line is a JSON object: the properties of an object, or `{"from": KEY, "to": KEY}` for a link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.platform.ontologies.schema import (
    CODE,
    FOLDER,
    LinkSide,
    ObjectType,
    Schema,
    no_schema,
)
from foundry_cm.local.platform.ontologies.values import ValueType, parse
from foundry_cm.module.files import read_inside
from foundry_cm.module.places import each_key_once

Properties = dict[str, Any]
Objects = dict[Any, Properties]
"""The objects of a type by their primary keys."""
Pairs = dict[tuple[Any, Any], None]
"""The links of a type, each by the primary keys of its two ends; in the order of the file."""

SUFFIX = ".jsonl"
_ONE_EACH = "Write one object in each line, and no list around them."


def objects_file(root: Path, name: str) -> Path:
    """Where the objects of a type are."""
    return root / FOLDER / f"{name}{SUFFIX}"


def links_file(root: Path, side: LinkSide) -> Path:
    """Where the links of a type of many to many are."""
    return root / FOLDER / f"{side.of}.{side.link}{SUFFIX}"


def check_files(root: Path, schema: Schema | None) -> None:
    """Raise the `CmError` of a file that belongs to no type."""
    there = [path for path in sorted((root / FOLDER).glob("*")) if path.is_file()]
    found = [path for path in there if path.suffix == SUFFIX]
    if schema is None:
        if found:
            raise no_schema(root)
        return
    known = {*schema.objects, *(f"{side.of}.{side.link}" for side in schema.joined)}
    for path in there:
        if path.stem in known and path.suffix != SUFFIX:
            what = f"{path.name} is not read: cm reads {path.stem}{SUFFIX}"
            raise _wrong(what, str(path), "Write one JSON object in each line of that file.")
    for path in found:
        if path.stem not in known:
            raise CmError(
                f"{path.name} belongs to no object type and to no link of many to many",
                where=str(path),
                fix=near_miss(path.stem, known),
                code=CODE,
                exit_code=USAGE,
            )


def read_objects(root: Path, kind: ObjectType) -> Objects:
    """The objects of a type; raises `CmError` with the line of one that does not fit."""
    path, objects = objects_file(root, kind.name), Objects()
    places: dict[Any, str] = {}
    for where, line in _lines(root, path):
        found = properties(kind, line, where)
        key = found.get(kind.primary_key)
        if key is None:
            fix = f'Write, for example: "{kind.primary_key}": ...'
            raise _wrong(f"{kind.primary_key}, the primary key, is missing", where, fix)
        if key in objects:
            first = places[key].rpartition(":")[2]
            what = f"There is another {kind.name} with that primary key, in line {first}"
            raise _wrong(what, where)
        objects[key], places[key] = found, where
    return objects


def read_links(root: Path, side: LinkSide, schema: Schema) -> Pairs:
    """The links of a type of many to many; raises `CmError` with the line of what is none."""
    path, pairs = links_file(root, side), Pairs()
    ends = {"from": schema.objects[side.source], "to": schema.objects[side.target]}
    for where, line in _lines(root, path):
        for name in line:
            if name not in ends:
                raise _wrong(f'There is no key "{name}"', where, near_miss(name, ends))
        keys = []
        for name, kind in ends.items():
            if line.get(name) is None:
                fix = f"It is the primary key of a {kind.name}."
                raise _wrong(f"{name} is missing", where, fix)
            keys.append(_value(kind.key_type, line[name], name, where))
        pairs[keys[0], keys[1]] = None
    return pairs


def properties(kind: ObjectType, line: dict[str, Any], where: str) -> Properties:
    """The values of an object that are there, each as its type has them."""
    found = {}
    for name, value in line.items():
        if name not in kind.properties:
            what = f'{kind.name} has no property "{name}"'
            raise _wrong(what, where, near_miss(name, kind.properties))
        if value is not None:
            found[name] = _value(kind.properties[name], value, name, where)
    return found


def _value(kind: ValueType, value: Any, name: str, where: str) -> Any:
    try:
        return parse(kind, value)
    except (ValueError, RecursionError):
        raise _wrong(f"{name} has to be {kind.said}", where) from None


def _lines(root: Path, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that holds something, with its place."""
    if not path.is_file():
        return
    for number, text in enumerate(read_inside(root, path).split("\n"), 1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            line = json.loads(text, object_pairs_hook=each_key_once)
        except json.JSONDecodeError as error:
            why = f"{error.msg}, at character {error.pos + 1}"
            fix = _ONE_EACH if text.lstrip()[0] in "[]" else None
            raise _wrong(f"That line is not JSON: {why}", where, fix) from None
        except ValueError as error:
            raise _wrong(f"That line is not JSON: {error}", where) from None
        except RecursionError:
            raise _wrong("That line is not JSON: it is nested too deeply", where) from None
        if not isinstance(line, dict):
            raise _wrong("That line is no JSON object", where, _ONE_EACH)
        yield where, line


def _wrong(what: str, where: str, fix: str | None = None) -> CmError:
    return CmError(what, where=where, fix=fix, code=CODE, exit_code=USAGE)
