"""What actions have edited: kept in memory, and written down in `outputs/ontology/edits.jsonl`.

Nothing is written into `data/`. Each line is one action with its parameters and its edits, so a person
sees what happened; a pipeline, whose outputs stay from run to run, finds its edits there again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.ontologies.files import Pairs, Properties
from foundry_cm.local.platform.ontologies.schema import CODE, LinkSide, ObjectType, Schema
from foundry_cm.local.platform.ontologies.values import parse, render
from foundry_cm.module.files import check_no_link

FILE = Path("outputs") / "ontology" / "edits.jsonl"


@dataclass(frozen=True)
class Edit:
    """One edit of an object, or of a link of many to many.

    Of an object it has all that is left of its properties, or None where it is deleted.
    """

    verb: str
    kind: ObjectType | None = None
    key: Any = None
    properties: Properties | None = None
    side: LinkSide | None = None
    pair: tuple[Any, Any] = (None, None)

    @property
    def types(self) -> list[str]:
        """The object types that it edits, or links."""
        ends = [self.side.source, self.side.target] if self.side else []
        return [*ends, *([self.kind.name] if self.kind else [])]

    def as_json(self, schema: Schema) -> dict[str, Any]:
        """As it is written down."""
        if self.side is not None:
            ends = (schema.objects[self.side.source], schema.objects[self.side.target])
            a, b = (render(end.key_type, key) for end, key in zip(ends, self.pair, strict=True))
            return {
                "edit": self.verb,
                "link": f"{self.side.of}.{self.side.link}",
                "from": a,
                "to": b,
            }
        assert self.kind is not None
        shown = {
            "edit": self.verb,
            "type": self.kind.name,
            "key": render(self.kind.key_type, self.key),
        }
        if self.properties is not None:
            types = self.kind.properties
            written = {name: render(types[name], value) for name, value in self.properties.items()}
            shown["properties"] = written
        return shown


@dataclass
class Edits:
    """The edits so far, the last one of each object and link."""

    root: Path
    schema: Schema
    keep: bool = False
    objects: dict[str, dict[Any, Properties | None]] = field(init=False)
    links: dict[tuple[str, str], tuple[Pairs, Pairs]] = field(init=False)
    # How many actions were applied; what is made up for an object follows from it.
    count: int = field(init=False)
    # How many of them in this run.
    applied: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_no_link(self.root, self.root / FILE)
        if self.keep:
            self._clear()
            self._read()
        else:
            self.forget()

    def _clear(self) -> None:
        self.objects = {name: {} for name in self.schema.objects}
        self.links = {(side.of, side.link): ({}, {}) for side in self.schema.joined}
        self.count = 0

    def forget(self) -> None:
        """Begin again: objects are what the files say."""
        self._clear()
        forget(self.root)

    def apply(self, edit: Edit) -> None:
        """Take one edit into the state."""
        if edit.side is not None:
            added, removed = self.links[edit.side.of, edit.side.link]
            into, out_of = (added, removed) if edit.verb == "link" else (removed, added)
            into[edit.pair] = None
            out_of.pop(edit.pair, None)
        elif edit.kind is not None:
            self.objects[edit.kind.name][edit.key] = edit.properties

    def record(self, action: str, parameters: dict[str, Any], edits: list[Edit]) -> None:
        """Write one action down, and take its edits into the state."""
        shown = [edit.as_json(self.schema) for edit in edits]
        line = json.dumps({"action": action, "parameters": parameters, "edits": shown})
        path = self.root / FILE
        check_no_link(self.root, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")
        self.count += 1
        self.applied += 1
        for edit in edits:
            self.apply(edit)

    def _read(self) -> None:
        """What earlier runs have written down; a line that a killed run did not end is no edit."""
        path = self.root / FILE
        if not path.is_file():
            return
        try:
            text = path.read_bytes()
            ended = text[: text.rfind(b"\n") + 1]
            for line in ended.decode("utf-8").splitlines():
                for shown in json.loads(line)["edits"]:
                    self.apply(self._edit(shown))
                self.count += 1
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CmError(
                f"{FILE.as_posix()} does not fit this schema",
                where=str(path),
                fix="Start again with: cm run --fresh",
                code=CODE,
                exit_code=USAGE,
            ) from None
        if ended != text:
            path.write_bytes(ended)

    def _edit(self, shown: dict[str, Any]) -> Edit:
        if "link" in shown:
            of, _, link = shown["link"].partition(".")
            side = self.schema.links[of][link]
            ends = (self.schema.objects[side.source], self.schema.objects[side.target])
            pair = (parse(ends[0].key_type, shown["from"]), parse(ends[1].key_type, shown["to"]))
            return Edit(shown["edit"], side=side, pair=pair)
        kind = self.schema.objects[shown["type"]]
        found = shown.get("properties")
        if found is not None:
            found = {name: parse(kind.properties[name], value) for name, value in found.items()}
        return Edit(shown["edit"], kind, parse(kind.key_type, shown["key"]), found)


def forget(root: Path) -> None:
    """Remove what was written down; its folder stays, for another run may be writing to it."""
    check_no_link(root, root / FILE)
    (root / FILE).unlink(missing_ok=True)
