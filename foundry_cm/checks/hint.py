"""What one annotation is to the SDK."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.program import Definition
from foundry_cm.checks.source import Source

# What stands in JSON as it is in Python.
PLAIN = {"boolean", "byte", "short", "integer", "long", "float", "double", "string"}


@dataclass(frozen=True)
class Hint:
    """One annotation, or a part of one.

    `kind` is the type that the SDK posts (`record` for its anonymousCustomType), or `refused` where
    it raises, `empty` where it posts a record without fields, `text` for an annotation in quotes that
    it cannot resolve, `unknown` where the files of the module do not say.
    """

    kind: str
    source: Source
    node: ast.expr
    why: str = ""
    items: tuple[Hint, ...] = ()
    fields: tuple[Field, ...] = ()
    record: Definition | None = None
    form: str = ""

    @property
    def text(self) -> str:
        """The annotation as it is written."""
        return ast.unparse(self.node)

    @property
    def place(self) -> tuple[str, int]:
        """The file and the line of it."""
        return self.source.path, self.node.lineno

    def walk(self) -> Iterator[Hint]:
        """It, and all that is inside it."""
        yield self
        for item in self.items:
            yield from item.walk()
        for field in self.fields:
            yield from field.hint.walk()

    @property
    def converted(self) -> bool:
        """Whether the value in the event must be converted to be what the annotation says."""
        if self.kind in ("list", "map"):
            return any(item.converted for item in self.items)
        if self.kind == "record":
            return self.form != "typeddict" or any(field.hint.converted for field in self.fields)
        return self.kind not in PLAIN | {"optional", "unknown"}


@dataclass(frozen=True)
class Field:
    """A field of a record, and the default that it has, if any."""

    name: str
    hint: Hint
    default: ast.expr | None = None


def refused(source: Source, node: ast.expr, why: str) -> Hint:
    """An annotation at which the SDK raises."""
    return Hint("refused", source, node, why)
