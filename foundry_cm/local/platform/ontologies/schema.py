"""What a person says of the Ontology in `data/ontology/schema.toml`: types, links and actions.

```toml
[objects.Ticket]
primary-key = "id"
title = "subject"
properties = { id = "string", subject = "string", status = "string", owner = "string" }

[objects.Ticket.links]
assignee = { to = "Person", foreign-key = "owner", reverse = "tickets" }
watchers = { to = "Person", reverse = "watched" }

[actions.close-ticket]
parameters = { ticket = "Ticket", reason = "string?" }
edits = [{ modify = "ticket", set = { resolution = "reason" }, values = { status = "closed" } }]
```

A link without a foreign key is one of many to many. A parameter is of a base type or an object type;
it is optional where its type ends in `?`. `set` takes the value of a property from a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from foundry_cm.errors import CmError, near_miss
from foundry_cm.local.platform.ontologies.values import KEYS, NAMES, ValueType, parse, split_list
from foundry_cm.module.files import check_inside
from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, Wrong, as_record

FOLDER = Path("data") / "ontology"
FILE = FOLDER / "schema.toml"
CODE = "BadOntology"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
# Those of actions and of the Ontology itself have hyphens.
_LONG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_RID = re.compile(r"ri\.ontology\.[a-z0-9-]*\.ontology\.[A-Za-z0-9._-]+")
Types = Annotated[dict[str, str], Meta(examples=[{"id": "string"}])]


class LinkRecord(Record, frozen=True, kw_only=True):
    """A link from the object type that it stands below; `reverse` is its name on the other side."""

    to: Annotated[str, Meta(examples=["Person"])]
    reverse: Annotated[str, Meta(examples=["tickets"])]
    foreign_key: str | None = None


class ObjectRecord(Record, frozen=True, kw_only=True):
    """An object type."""

    primary_key: Annotated[str, Meta(examples=["id"])]
    properties: Types
    title: str | None = None
    description: str | None = None
    links: dict[str, LinkRecord] = msgspec.field(default_factory=dict)


class EditRecord(Record, frozen=True, kw_only=True):
    """One edit of an action, of the kind of the one verb that it has.

    `create` names an object type, `modify` and `delete` a parameter that holds an object. `link` and
    `unlink` name a link as TYPE.LINK; `from` and `to` are the parameters that hold its ends.
    """

    create: str | None = None
    modify: str | None = None
    delete: str | None = None
    link: str | None = None
    unlink: str | None = None
    # Properties from parameters, from constants, from the clock, from the caller, and made up.
    set: dict[str, str] = msgspec.field(default_factory=dict)
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    now: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None

    def __post_init__(self) -> None:
        verbs = [verb for verb in VERBS if getattr(self, verb) is not None]
        if len(verbs) != 1:
            what = f"An edit has one of {', '.join(VERBS)}, and this one has {' and '.join(verbs) or 'none'}"
            raise Wrong(verbs[-1] if verbs else "edits", what)
        for key in () if verbs[0] in WRITES else ("set", "values", "now", "user", "unique"):
            if getattr(self, key):
                raise Wrong(key, f"{key} says what properties become, and {verbs[0]} writes none")

    @property
    def verb(self) -> str:
        """What it does."""
        return next(verb for verb in VERBS if getattr(self, verb) is not None)

    @property
    def written(self) -> Iterator[tuple[str, str]]:
        """The properties that it writes, each with the key that it stands below."""
        for key in ("set", "values", "now", "user", "unique"):
            for name in getattr(self, key):
                yield key, name


VERBS = ("create", "modify", "delete", "link", "unlink")
WRITES = ("create", "modify")


class ActionRecord(Record, frozen=True, kw_only=True):
    """An action type."""

    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    edits: tuple[EditRecord, ...] = ()
    description: str | None = None


class SchemaRecord(Record, frozen=True, kw_only=True):
    """The file as a whole; `api-name` and `rid` are those by which the module knows the Ontology."""

    api_name: str = "ontology"
    rid: str = "ri.ontology.main.ontology.00000000-0000-0000-0000-000000000001"
    objects: dict[str, ObjectRecord] = msgspec.field(default_factory=dict)
    actions: dict[str, ActionRecord] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """What a parameter takes: a value, or an object by its primary key."""

    kind: ValueType | None
    object_type: str | None
    is_list: bool
    required: bool


@dataclass(frozen=True)
class LinkSide:
    """A link as one of its two object types sees it; `of` and `link` name the link itself."""

    name: str
    source: str
    target: str
    of: str
    link: str
    reverse: str
    foreign_key: str | None
    is_forward: bool

    @property
    def is_one(self) -> bool:
        """Whether it leads to one object at most."""
        return self.is_forward and self.foreign_key is not None


@dataclass(frozen=True)
class ObjectType:
    """An object type with the types of its properties."""

    name: str
    primary_key: str
    title: str
    description: str | None
    properties: dict[str, ValueType]

    @property
    def key_type(self) -> ValueType:
        """The type of its primary key."""
        return self.properties[self.primary_key]


@dataclass(frozen=True)
class ActionType:
    """An action type with its parameters, and what it edits."""

    name: str
    description: str | None
    parameters: dict[str, Parameter]
    edits: tuple[EditRecord, ...]


@dataclass
class Schema:
    """The Ontology as it was read, with everything in it checked."""

    name: str
    rid: str
    objects: dict[str, ObjectType] = field(default_factory=dict)
    # By object type, then by name.
    links: dict[str, dict[str, LinkSide]] = field(default_factory=dict)
    actions: dict[str, ActionType] = field(default_factory=dict)

    @property
    def joined(self) -> list[LinkSide]:
        """The links of many to many, each once."""
        sides = (side for found in self.links.values() for side in found.values())
        return [side for side in sides if side.is_forward and side.foreign_key is None]


def read_schema(root: Path) -> Schema | None:
    """The schema in a module's folder, or None where there is none; raises `CmError` that says where."""
    place = Place(root / FILE)
    if not place.file.is_file():
        return None
    check_inside(root, place.file)
    return _Reader(as_record(SchemaRecord, read_file(place.file), place, CODE), place).schema


class _Reader:
    """Checks what a schema says of one thing against what it says of others."""

    def __init__(self, record: SchemaRecord, place: Place) -> None:
        self.record = record
        self.schema = Schema(record.api_name, record.rid)
        _check_name(place.below("api-name"), record.api_name, _LONG_NAME)
        if not _RID.fullmatch(record.rid):
            what = "That is not the RID of an Ontology"
            raise place.below("rid").error(what, "It begins with ri.ontology.", CODE)
        for name, each in record.objects.items():
            self.schema.objects[name] = self._object(name, each, place.below("objects", name))
            self.schema.links[name] = {}
        for name, each in record.objects.items():
            for link, said in each.links.items():
                self._link(name, link, said, place.below("objects", name, "links", link))
        for name, action in record.actions.items():
            self.schema.actions[name] = self._action(name, action, place.below("actions", name))

    def _object(self, name: str, said: ObjectRecord, place: Place) -> ObjectType:
        _check_name(place, name)
        if name in NAMES:
            raise place.error(
                f"{name} is a base type, so no object type can have that name", code=CODE
            )
        types = {}
        for key, text in said.properties.items():
            _check_name(place.below("properties", key), key)
            base, is_list = split_list(text)
            _check_known(place.below("properties", key), base, NAMES, "type")
            types[key] = ValueType(base, is_list)
        _check_known(place.below("primary-key"), said.primary_key, types, "property")
        if types[said.primary_key] not in map(ValueType, KEYS):
            what = f"A {types[said.primary_key]} cannot be a primary key"
            raise place.below("primary-key").error(what, f"It can be: {', '.join(KEYS)}.", CODE)
        title = said.title or said.primary_key
        _check_known(place.below("title"), title, types, "property")
        return ObjectType(name, said.primary_key, title, said.description, types)

    def _link(self, source: str, name: str, said: LinkRecord, place: Place) -> None:
        _check_name(place, name)
        _check_name(place.below("reverse"), said.reverse)
        _check_known(place.below("to"), said.to, self.schema.objects, "object type")
        key = said.foreign_key
        if key is not None:
            types = self.schema.objects[source].properties
            _check_known(place.below("foreign-key"), key, types, "property")
            wanted = self.schema.objects[said.to].key_type
            if types[key] != wanted:
                what = (
                    f"{key} is of type {types[key]}, and the primary key of {said.to} is {wanted}"
                )
                raise place.below("foreign-key").error(what, code=CODE)
        sides = (
            LinkSide(name, source, said.to, source, name, said.reverse, key, True),
            LinkSide(said.reverse, said.to, source, source, name, name, key, False),
        )
        for side in sides:
            if side.name in self.schema.links[side.source]:
                what = f'{side.source} has two links of the name "{side.name}"'
                at = place if side.is_forward else place.below("reverse")
                raise at.error(what, "Give each its own.", CODE)
            self.schema.links[side.source][side.name] = side

    def _action(self, name: str, said: ActionRecord, place: Place) -> ActionType:
        _check_name(place, name, _LONG_NAME)
        parameters = {
            key: self._parameter(text, place.below("parameters", key))
            for key, text in said.parameters.items()
        }
        for edit in said.edits:
            self._edit(edit, parameters, place.below("edits"))
        return ActionType(name, said.description, parameters, said.edits)

    def _parameter(self, text: str, place: Place) -> Parameter:
        _check_name(place, place.keys[-1])
        base, is_list = split_list(text.removesuffix("?"))
        _check_known(place, base, [*NAMES, *self.schema.objects], "type")
        kind = ValueType(base, is_list) if base in NAMES else None
        return Parameter(kind, None if kind else base, is_list, not text.endswith("?"))

    def _edit(self, edit: EditRecord, parameters: dict[str, Parameter], place: Place) -> None:
        if edit.verb in ("link", "unlink"):
            self._linking(edit, parameters, place)
            return
        if edit.create is not None:
            _check_known(place.below("create"), edit.create, self.schema.objects, "object type")
            edited = self.schema.objects[edit.create]
            if edited.primary_key not in [name for _, name in edit.written]:
                what = f"A new {edited.name} needs its primary key, {edited.primary_key}"
                raise place.below("create").error(what, "Add it to set, values or unique.", CODE)
        else:
            holder = edit.modify if edit.modify is not None else edit.delete
            edited = self._held(place.below(edit.verb), str(holder), parameters)
        seen = set()
        for key, name in edit.written:
            at = place.below(key, name)
            if name in seen:
                raise at.error(f"{name} is written twice", "Keep one of the two.", CODE)
            seen.add(name)
            _check_known(at, name, edited.properties, f"property of {edited.name}")
            if edit.modify is not None and name == edited.primary_key:
                raise at.error("A primary key cannot be modified", code=CODE)
            self._check_source(edit, key, name, edited.properties[name], parameters, at)

    def _check_source(
        self,
        edit: EditRecord,
        key: str,
        name: str,
        kind: ValueType,
        parameters: dict[str, Parameter],
        at: Place,
    ) -> None:
        """Raise the `CmError` of a property that cannot become what an edit says."""
        if key == "values":
            try:
                parse(kind, edit.values[name])
            except ValueError:
                raise at.error(f"{name} has to be {kind.said}", code=CODE) from None
        elif key == "now" and kind not in map(ValueType, ("date", "timestamp")):
            raise at.error(f"{name} is of type {kind}, and now is a date or a timestamp", code=CODE)
        elif key in ("user", "unique") and kind != ValueType("string"):
            raise at.error(f"{name} is of type {kind}, and {key} is a string", code=CODE)
        elif key == "set":
            _check_known(at, edit.set[name], parameters, "parameter")
            parameter = parameters[edit.set[name]]
            given = parameter.kind
            if parameter.object_type and not parameter.is_list:
                given = self.schema.objects[parameter.object_type].key_type
            if given != kind:
                what = f"{name} is of type {kind}, and the parameter {edit.set[name]} is not"
                raise at.error(what, code=CODE)

    def _held(self, place: Place, name: str, parameters: dict[str, Parameter]) -> ObjectType:
        """The type of the object that a parameter holds."""
        _check_known(place, name, parameters, "parameter")
        parameter = parameters[name]
        if parameter.object_type is None or parameter.is_list:
            raise place.error(f"The parameter {name} holds no object", code=CODE)
        return self.schema.objects[parameter.object_type]

    def _linking(self, edit: EditRecord, parameters: dict[str, Parameter], place: Place) -> None:
        known = {f"{side.of}.{side.link}": side for side in self.schema.joined}
        name = str(edit.link if edit.link is not None else edit.unlink)
        source, _, link = name.partition(".")
        side = self.schema.links.get(source, {}).get(link)
        if side and side.foreign_key is not None:
            what = f"{name} is a link by {side.of}.{side.foreign_key}"
            raise place.below(edit.verb).error(what, "Modify that property.", CODE)
        _check_known(place.below(edit.verb), name, known, "link of many to many")
        for key, held, wanted in (
            ("from", edit.from_, source),
            ("to", edit.to, known[name].target),
        ):
            at = place.below(key)
            if held is None:
                what = f"{edit.verb} needs {key}: the parameter with the {wanted}"
                raise at.error(what, code=CODE)
            if self._held(at, held, parameters).name != wanted:
                raise at.error(f"The parameter {held} holds no {wanted}", code=CODE)


def _check_name(place: Place, name: str, form: re.Pattern[str] = _NAME) -> None:
    """Raise the `CmError` of what cannot be an API name."""
    if not form.fullmatch(name):
        others = "digits, _ and -" if form is _LONG_NAME else "digits and _"
        fix = f"Use up to 100 letters, {others}, with a letter first."
        raise place.error(f'"{name}" cannot be an API name', fix, CODE)


def _check_known(place: Place, name: str, known: Any, what: str) -> None:
    """Raise the `CmError` of a name that stands for nothing."""
    if name not in known:
        raise place.error(f'There is no {what} "{name}"', near_miss(name, known), CODE)


def no_schema(folder: Path) -> CmError:
    """Objects that nobody has said the types of."""
    return Place(folder / FILE).error(
        f"{FOLDER.as_posix()}/ has objects, and no schema.toml says of which types they are",
        'Write it: [objects.TYPE] with primary-key = "id" and properties = { id = "string" }.',
        CODE,
    )
