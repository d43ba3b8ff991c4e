"""Classes as the SDK reads them: a record, or the reason why the SDK refuses the class.

It wants class annotations that are the same as those of `__init__`, so a dataclass, a TypedDict, or a
class written out in that way.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from foundry_cm.checks.hint import Field, Hint, refused
from foundry_cm.checks.program import Definition, FunctionNode, Program
from foundry_cm.checks.source import Source

_DATACLASS = "dataclasses.dataclass"
_REFUSED_BASES = {
    "typing.NamedTuple": "a NamedTuple has no __init__ that the SDK can read",
    "pydantic.BaseModel": "a pydantic model takes its fields by keyword only",
    "pydantic_settings.BaseSettings": "a pydantic model takes its fields by keyword only",
    "msgspec.Struct": "a msgspec Struct has no __init__ that the SDK can read",
    "typing.Generic": "the SDK takes no generic class",
    "typing.Protocol": "the SDK takes no protocol",
}
_ENUMS = {"enum.Enum", "enum.IntEnum", "enum.StrEnum", "enum.Flag", "enum.IntFlag"}
_TYPED_DICTS = {"typing.TypedDict", "typing_extensions.TypedDict"}
_DEEPEST = 20


@dataclass(frozen=True)
class Reading:
    """The reading of one class that an annotation names; `read` reads those of its fields."""

    program: Program
    read: Callable[[Source, ast.expr], Hint]
    found: Definition
    node: ast.ClassDef
    source: Source
    at: ast.expr

    def hint(self) -> Hint:
        """What the class is to the SDK."""
        classes = list(self._classes(self.found))
        bases = {name for each in classes for name in self._bases(each)}
        if bases & _ENUMS:
            return Hint("empty", self.source, self.at, "an Enum has no fields", record=self.found)
        if why := next(
            (_REFUSED_BASES[name] for name in sorted(bases) if name in _REFUSED_BASES), ""
        ):
            return self._refused(why)
        if bases & _TYPED_DICTS:
            return self._record([self._own(each) for each in classes], "typeddict")
        if "dict" in bases:
            return Hint("empty", self.source, self.at, "a dict says nothing of its content")
        decorators = self._decorators(self.found)
        if _DATACLASS in decorators:
            return self._dataclass(classes, decorators[_DATACLASS])
        if decorators or bases - {"object"}:
            # Other libraries make an __init__ of their own, which the text does not show.
            if any(name.startswith("pydantic.") for name in decorators):
                return self._refused("a pydantic model takes its fields by keyword only")
            return Hint("unknown", self.source, self.at, record=self.found)
        return self._plain(classes)

    def _classes(self, found: Definition, depth: int = 0) -> Iterator[Definition]:
        """The class and its bases in the module, the bases first."""
        assert isinstance(found.node, ast.ClassDef)
        for base in found.node.bases:
            inner = self.program.find(found.source, base)
            if (
                isinstance(inner, Definition)
                and isinstance(inner.node, ast.ClassDef)
                and depth < _DEEPEST
            ):
                yield from self._classes(inner, depth + 1)
        yield found

    def _bases(self, found: Definition) -> Iterator[str]:
        """The bases of a class that are not of the module."""
        assert isinstance(found.node, ast.ClassDef)
        for base in found.node.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            yield self.program.dotted(found.source, named)

    def _decorators(self, found: Definition) -> dict[str, ast.expr]:
        assert isinstance(found.node, ast.ClassDef)
        return {
            self.program.dotted(
                found.source, each.func if isinstance(each, ast.Call) else each
            ): each
            for each in found.node.decorator_list
        }

    def _own(self, found: Definition) -> list[tuple[Definition, ast.AnnAssign]]:
        """The annotated names of one class, in their order."""
        assert isinstance(found.node, ast.ClassDef)
        return [
            (found, item)
            for item in found.node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]

    def _record(self, groups: list[list[tuple[Definition, ast.AnnAssign]]], form: str) -> Hint:
        fields: dict[str, Field] = {}
        for owner, item in (pair for group in groups for pair in group):
            name = ast.unparse(item.target)
            hint = self.read(owner.source, item.annotation)
            if form != "typeddict" and hint.form == "annotated":
                hint = refused(owner.source, item.annotation, "a field may not be Annotated")
            plain = hint.kind not in ("refused", "empty", "text")
            if form != "typeddict" and plain and _has_text(item.annotation):
                # It resolves to a built-in type, and is then another one than __init__ has.
                hint = Hint(
                    "text", owner.source, item.annotation, "the SDK compares it as it stands"
                )
            fields[name] = Field(name, hint, item.value)
        if not fields:
            why = f"{self.found.name} has no fields"
            return Hint("empty", self.source, self.at, why, record=self.found)
        return Hint(
            "record",
            self.source,
            self.at,
            fields=tuple(fields.values()),
            record=self.found,
            form=form,
        )

    def _dataclass(self, classes: list[Definition], decorator: ast.expr) -> Hint:
        options = {
            key.arg
            for key in (decorator.keywords if isinstance(decorator, ast.Call) else [])
            if not (isinstance(key.value, ast.Constant) and not key.value.value)
        }
        off = {
            key.arg
            for key in (decorator.keywords if isinstance(decorator, ast.Call) else [])
            if isinstance(key.value, ast.Constant) and key.value.value is False
        }
        groups = [self._own(each) for each in classes if _DATACLASS in self._decorators(each)]
        items = [pair for group in groups for pair in group]
        if items and "kw_only" in options:
            return self._refused("with kw_only its fields are no positional arguments")
        if items and "init" in off:
            return self._refused("without an __init__ it has no arguments for its fields")
        for owner, item in items:
            if why := self._odd(owner.source, item):
                return self._refused(f"{ast.unparse(item.target)}: {why}")
        return self._record(groups, "dataclass")

    def _odd(self, source: Source, item: ast.AnnAssign) -> str:
        """Why a field of a dataclass is none to the SDK."""
        named = (
            item.annotation.value if isinstance(item.annotation, ast.Subscript) else item.annotation
        )
        kind = self.program.dotted(source, named).rpartition(".")[2]
        if kind in ("ClassVar", "InitVar", "KW_ONLY"):
            return f"the SDK takes no {kind}"
        if isinstance(item.value, ast.Call) and self.program.dotted(
            source, item.value.func
        ).endswith("field"):
            for key in item.value.keywords:
                said = key.value.value if isinstance(key.value, ast.Constant) else None
                if (key.arg, said) in (("init", False), ("kw_only", True)):
                    return f"the SDK takes no field with {key.arg}={said!r}"
        return ""

    def _plain(self, classes: list[Definition]) -> Hint:
        """A class without a decorator: its annotations must be those of its `__init__`."""
        groups = [self._own(each) for each in classes]
        hints = {ast.unparse(i.target): ast.unparse(i.annotation) for g in groups for _, i in g}
        init = next(
            (
                item
                for each in reversed(classes)
                for item in getattr(each.node, "body", [])
                if isinstance(item, FunctionNode) and item.name == "__init__"
            ),
            None,
        )
        if init is None:
            if hints:
                return self._refused("it has no __init__ for its fields: make it a dataclass")
            return self._record(groups, "class")
        given = [*init.args.posonlyargs, *init.args.args][1:]
        asked = {arg.arg: ast.unparse(arg.annotation) if arg.annotation else "" for arg in given}
        extra = init.args.kwonlyargs or (asked and (init.args.vararg or init.args.kwarg))
        if asked != hints or extra:
            return self._refused(
                "its annotations and those of its __init__ differ: make it a dataclass"
            )
        return self._record(groups, "class")

    def _refused(self, why: str) -> Hint:
        return replace(refused(self.source, self.at, why), record=self.found)


def _has_text(annotation: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Constant) and isinstance(each.value, str)
        for each in ast.walk(annotation)
    )
