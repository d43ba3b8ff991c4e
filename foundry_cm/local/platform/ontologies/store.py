"""The state of the Ontology: what the files say, and over it what actions have edited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from foundry_cm.errors import CmError
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.edits import Edits
from foundry_cm.local.platform.ontologies.files import (
    Objects,
    Pairs,
    Properties,
    check_files,
    links_file,
    objects_file,
    read_links,
    read_objects,
)
from foundry_cm.local.platform.ontologies.schema import LinkSide, ObjectType, Schema, read_schema
from foundry_cm.local.platform.ontologies.values import parse, render

T = TypeVar("T")


class Ontology:
    """The Ontology of a module; there is one where `data/ontology/schema.toml` is there.

    `readers` says where the objects of each type come from, by the name of the type: here from its
    file, and from nowhere else are objects read. A person may change a file at any time.
    """

    def __init__(self, root: Path, schema: Schema, edits: Edits) -> None:
        self.schema = schema
        self.edits = edits
        self.readers: dict[str, Callable[[], Objects]] = {
            name: _kept(objects_file(root, name), partial(read_objects, root, kind))
            for name, kind in schema.objects.items()
        }
        self._links = {
            (side.of, side.link): _kept(
                links_file(root, side), partial(read_links, root, side, schema)
            )
            for side in schema.joined
        }

    @classmethod
    def read(cls, root: Path, *, keep: bool = False) -> Ontology | None:
        """The Ontology below a folder; raises `CmError` for a file that does not say one.

        `keep`: what actions have edited in earlier runs stays, as outputs do.
        """
        schema = read_schema(root)
        check_files(root, schema)
        if schema is None:
            return None
        ontology = cls(root, schema, Edits(root, schema, keep=keep))
        for reader in (*ontology.readers.values(), *ontology._links.values()):
            reader()
        return ontology

    @property
    def names(self) -> tuple[str, str]:
        """How a call may name it."""
        return self.schema.name, self.schema.rid

    def described(self) -> dict[str, Any]:
        """What is in it, for a person who runs the module."""
        types = self.schema.objects
        return {
            "name": self.schema.name,
            "rid": self.schema.rid,
            "objects": {name: len(self.objects(kind)) for name, kind in types.items()},
            "actions": list(self.schema.actions),
        }

    # Types.

    def object_type(self, name: str) -> ObjectType:
        """The object type of that name."""
        try:
            return self.schema.objects[name]
        except KeyError:
            raise ApiError("ObjectTypeNotFound", objectType=name) from None

    def link(self, object_type: str, name: str) -> LinkSide:
        """The link of an object type that has that name."""
        try:
            return self.schema.links[self.object_type(object_type).name][name]
        except KeyError:
            raise ApiError("LinkTypeNotFound", objectType=object_type, linkType=name) from None

    # Objects.

    def objects(self, kind: ObjectType) -> Objects:
        """Every object of a type, edited as it is now."""
        told, edits = _told(self.readers[kind.name]), self.edits.objects[kind.name]
        if not edits:
            return told
        found = dict(told)
        for key, edited in edits.items():
            if edited is None:
                found.pop(key, None)
            else:
                found[key] = edited
        return found

    def key(self, kind: ObjectType, text: Any) -> Any:
        """A primary key as a call writes it."""
        try:
            return parse(kind.key_type, text, as_text=True)
        except ValueError:
            raise ApiError(
                "InvalidPropertyValue",
                propertyBaseType=kind.key_type.api_name,
                property=kind.primary_key,
                propertyValue=text,
            ) from None

    def find(self, kind: ObjectType, text: Any) -> Properties:
        """The object with that primary key, as a call writes it."""
        key = self.key(kind, text)
        found = self.objects(kind).get(key)
        if found is None:
            shown = {kind.primary_key: render(kind.key_type, key)}
            raise ApiError("ObjectNotFound", objectType=kind.name, primaryKey=shown)
        return found

    def written(self, kind: ObjectType) -> list[Properties]:
        """Every object of a type, with its properties as the API writes them."""
        types = kind.properties
        return [
            {name: render(types[name], value) for name, value in found.items()}
            for found in self.objects(kind).values()
        ]

    # Links.

    def pairs(self, of: str, link: str) -> Pairs:
        """Every link of a type of many to many, edited as it is now."""
        added, removed = self.edits.links[of, link]
        found = {pair: None for pair in _told(self._links[of, link]) if pair not in removed}
        return found | added

    def linked(self, side: LinkSide, objects: list[Properties]) -> list[Properties]:
        """The objects that these are linked to, each once; a link to an object that is not there is none."""
        own, other = self.schema.objects[side.source], self.schema.objects[side.target]
        theirs = self.objects(other)
        mine = [each[own.primary_key] for each in objects]
        if side.foreign_key is None:
            every = self.pairs(side.of, side.link)
            ends = every if side.is_forward else [(b, a) for a, b in every]
            by_key: dict[Any, list[Any]] = {}
            for a, b in ends:
                by_key.setdefault(a, []).append(b)
            keys = [key for one in mine for key in by_key.get(one, ())]
        elif side.is_forward:
            keys = [each[side.foreign_key] for each in objects if side.foreign_key in each]
        else:
            wanted = set(mine)
            return [each for each in theirs.values() if each.get(side.foreign_key) in wanted]
        return [theirs[key] for key in dict.fromkeys(keys) if key in theirs]


def _kept(path: Path, read: Callable[[], T]) -> Callable[[], T]:
    """Reads a file again only when its size or its time has changed."""
    known: dict[tuple[int, int] | None, T] = {}

    def reader() -> T:
        status = path.stat() if path.is_file() else None
        stamp = (status.st_mtime_ns, status.st_size) if status else None
        if stamp not in known:
            found = read()
            known.clear()
            known[stamp] = found
        return known[stamp]

    return reader


def _told(read: Callable[[], T]) -> T:
    """What a file says; one that was changed for the worse is told to the caller (our own: 400)."""
    try:
        return read()
    except CmError as error:
        raise ApiError(
            "MalformedObject", status=400, message=error.what, where=error.where
        ) from None
