"""Object sets: what a call describes, made into objects of one type."""

from __future__ import annotations

import uuid
from typing import Any

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.filters import test_of
from foundry_cm.local.platform.ontologies.schema import ObjectType
from foundry_cm.local.platform.ontologies.shapes import object_rid
from foundry_cm.local.platform.ontologies.store import Ontology

Found = tuple[ObjectType, list[Properties]]
MOST_SETS = 1000
_DEPTH = 50


class ObjectSets:
    """Sets that were given a name for a while, and what any set holds."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}

    def name(self, asked: Any) -> str:
        """Keep a description under a RID; the oldest goes where there are too many."""
        rid = f"ri.object-set.main.temporary-object-set.{uuid.uuid4()}"
        self._named[rid] = asked
        if len(self._named) > MOST_SETS:
            del self._named[next(iter(self._named))]
        return rid

    def described(self, rid: str) -> Any:
        """The description that has that RID."""
        try:
            return self._named[rid]
        except KeyError:
            raise ApiError("ObjectSetNotFound", objectSetRid=rid) from None

    def objects(self, ontology: Ontology, asked: Any, depth: int = 0) -> Found:
        """The objects that a description stands for, in the order of the first set in it."""
        form = asked.get("type") if isinstance(asked, dict) else None
        if depth > _DEPTH:
            raise ApiError("UnsupportedObjectSet")
        if form == "base":
            kind = ontology.object_type(str(asked.get("objectType")))
            return kind, list(ontology.objects(kind).values())
        if form == "reference":
            named = self.described(str(asked.get("reference")))
            return self.objects(ontology, named, depth + 1)
        if form == "static":
            return self._static(ontology, asked.get("objects"))
        if form in ("filter", "searchAround"):
            kind, found = self.objects(ontology, asked.get("objectSet"), depth + 1)
            if form == "filter":
                test = test_of(kind, asked.get("where"))
                return kind, [each for each in found if test(each)]
            side = ontology.link(kind.name, str(asked.get("link")))
            return ontology.object_type(side.target), ontology.linked(side, found)
        if form in ("union", "intersect", "subtract"):
            parts = asked.get("objectSets")
            if not isinstance(parts, list) or not parts:
                raise ApiError("InvalidRequestBody")
            return _joined(form, [self.objects(ontology, each, depth + 1) for each in parts])
        raise ApiError("UnsupportedObjectSet")

    def _static(self, ontology: Ontology, rids: Any) -> Found:
        if not isinstance(rids, list) or not rids:
            raise ApiError("UnsupportedObjectSet")
        for kind in ontology.schema.objects.values():
            objects = ontology.objects(kind).items()
            found = [each for key, each in objects if object_rid(kind, key) in rids]
            if found:
                return kind, found
        raise ApiError("UnsupportedObjectSet")


def _joined(form: str, parts: list[Found]) -> Found:
    kind, first = parts[0]
    if any(other.name != kind.name for other, _ in parts):
        raise ApiError("UnsupportedObjectSet")
    by_key = [{each[kind.primary_key]: each for each in found} for _, found in parts]
    if form == "union":
        every: dict[Any, Properties] = {}
        for each in by_key:
            every |= each
        return kind, list(every.values())
    inside = all if form == "intersect" else (lambda found: not any(found))
    return kind, [
        each for each in first if inside(each[kind.primary_key] in other for other in by_key[1:])
    ]
