"""Annotations as the SDK reads them: what Foundry's type each becomes, or why it becomes none.

It says what `compute_modules.function_registry.function_schema_parser` of SDK 0.34 does, from the
text alone. `tests/checks/test_hints.py` holds each statement against that parser.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import replace

from foundry_cm.checks import classes
from foundry_cm.checks.hint import Field, Hint, refused
from foundry_cm.checks.program import Definition, Program
from foundry_cm.checks.source import Source

_SDK_TYPES = "compute_modules.function_registry.types"
SCALARS = {
    "bool": "boolean",
    "int": "integer",
    "float": "float",
    "str": "string",
    "bytes": "binary",
    "datetime.date": "date",
    "datetime.datetime": "timestamp",
    "decimal.Decimal": "decimal",
    **{f"{_SDK_TYPES}.{name}": name.lower() for name in ("Byte", "Short", "Long", "Double")},
}

_LISTS = {"list", "typing.List", "typing.Iterable", "collections.abc.Iterable"}
_SETS = {"set", "typing.Set"}
_MAPS = {"dict", "typing.Dict"}
_OPTIONAL, _UNION = "typing.Optional", "typing.Union"
_WRAPPERS = {
    f"{package}.{name}"
    for package in ("typing", "typing_extensions")
    for name in ("NotRequired", "Required", "ReadOnly")
}
_EDITS = {"AddObject", "ModifyObject", "DeleteObject", "AddLink", "RemoveLink"}
# Registered without a complaint, as a record without fields.
_EMPTY = {
    "object", "list", "set", "frozenset", "tuple", "complex", "bytearray", "type", "range",
    "typing.Any", "datetime.time", "datetime.timedelta", "datetime.tzinfo", "collections.deque",
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "None",
}  # fmt: skip
_FOREIGN = (
    "numpy.",
    "pandas.",
    "polars.",
    "pyarrow.",
    "torch.",
    "PIL.",
    "pathlib.",
    "uuid.",
    "tensorflow.",
)


class Reader:
    """Reads annotations of a module's files."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._open: list[tuple[str, str]] = []

    def read(self, source: Source, node: ast.expr) -> Hint:
        """What an annotation is to the SDK."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                return self._quoted(source, node)
            return Hint("empty", source, node, "None holds no value")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._union(source, node, list(_members(node)))
        if isinstance(node, ast.Subscript):
            return self._subscript(source, node)
        found = self.program.find(source, node)
        if isinstance(found, Definition):
            return self._defined(found, source, node)
        return self._named(found, source, node)

    def _quoted(self, source: Source, node: ast.Constant) -> Hint:
        """The SDK resolves text without the names of the file: only built-in types are found."""
        try:
            inner = ast.parse(str(node.value), mode="eval").body
        except SyntaxError:
            return Hint("text", source, node, "it is not an annotation")
        names = [each.id for each in ast.walk(inner) if isinstance(each, ast.Name)]
        if unknown := next((name for name in names if not hasattr(builtins, name)), None):
            return Hint("text", source, node, f"the SDK cannot find {unknown}")
        ast.increment_lineno(inner, node.lineno - 1)
        return self.read(source, inner)

    def _named(self, name: str, source: Source, node: ast.expr) -> Hint:
        if kind := SCALARS.get(name):
            return Hint(kind, source, node)
        if name in _EMPTY or name.startswith("enum."):
            return Hint("empty", source, node, f"{_short(name)} says nothing of its content")
        if name in _MAPS:
            return refused(source, node, "a map needs the types of its keys and values")
        if name.startswith("typing.") or name == "uuid.UUID":
            return refused(source, node, "it is no type of Foundry")
        if name.startswith((*_FOREIGN, "collections.abc.")):
            return Hint("empty", source, node, "it is no type of Foundry")
        return Hint("unknown", source, node)

    def _union(self, source: Source, node: ast.expr, members: list[ast.expr]) -> Hint:
        names = {self._last_name(source, member) for member in members}
        if names >= _EDITS:
            return Hint("edits", source, node)
        rest = [member for member in members if not _is_none(member)]
        if len(members) == 1:
            return self.read(source, members[0])
        if len(rest) == 1 and len(members) == 2:
            return Hint("optional", source, node, items=(self.read(source, rest[0]),))
        return refused(source, node, "a value has one type in Foundry")

    def _last_name(self, source: Source, node: ast.expr) -> str:
        found = self.program.find(source, node)
        return found.name if isinstance(found, Definition) else found.rpartition(".")[2]

    def _subscript(self, source: Source, node: ast.Subscript) -> Hint:
        name = self.program.dotted(source, node.value)
        args = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == _OPTIONAL:
            return Hint("optional", source, node, items=(self.read(source, args[0]),))
        if name == _UNION:
            return self._union(source, node, args)
        if name in _LISTS or name in _SETS:
            kind = "list" if name in _LISTS else "set"
            return Hint(kind, source, node, items=(self.read(source, args[0]),))
        if name in _MAPS and len(args) == 2:
            key, value = (self.read(source, each) for each in args)
            if key.kind not in {*SCALARS.values(), "unknown"}:
                return refused(source, node, "the keys of a map are text, numbers or dates")
            return Hint("map", source, node, items=(key, value))
        if name.rpartition(".")[2] == "Annotated" or name in _WRAPPERS:
            inner = self.read(source, args[0])
            if name in _WRAPPERS:
                return inner
            return replace(inner, form=inner.form or "annotated")
        if name.startswith("numpy."):
            return Hint("empty", source, node, "it is no type of Foundry")
        if not name and not isinstance(self.program.find(source, node.value), Definition):
            return Hint("unknown", source, node)
        return refused(source, node, "it is no type of Foundry")

    def _defined(self, found: Definition, source: Source, node: ast.expr) -> Hint:
        """A name that the module defines: a class, or another name for a type."""
        key = (found.source.path, found.name)
        if key in self._open:
            return refused(
                source, node, f"{found.name} holds itself, and the SDK resolves no such name"
            )
        self._open.append(key)
        try:
            if isinstance(found.node, ast.ClassDef):
                return classes.Reading(
                    self.program, self.read, found, found.node, source, node
                ).hint()
            if type(found.node).__name__ == "TypeAlias":
                return refused(source, node, "the SDK does not look behind a type statement")
            return self._alias(found, source, node)
        finally:
            self._open.pop()

    def _alias(self, found: Definition, source: Source, node: ast.expr) -> Hint:
        value = found.value
        if not isinstance(value, ast.Call):
            return self.read(found.source, value) if value else Hint("unknown", source, node)
        maker = self.program.dotted(found.source, value.func).rpartition(".")[2]
        if maker == "TypedDict" and len(value.args) == 2 and isinstance(value.args[1], ast.Dict):
            pairs = zip(value.args[1].keys, value.args[1].values, strict=True)
            fields = [
                Field(str(key.value), self.read(found.source, each))
                for key, each in pairs
                if isinstance(key, ast.Constant)
            ]
            return Hint("record", source, node, "", (), tuple(fields), found, "typeddict")
        if maker in ("NewType", "TypeVar", "NamedTuple", "ParamSpec"):
            return refused(source, node, f"the SDK takes no {maker}")
        if maker in ("Enum", "IntEnum", "StrEnum", "namedtuple"):
            return Hint("empty", source, node, f"the SDK sees no fields in {found.name}")
        return Hint("unknown", source, node)


def _members(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _members(node.left)
        yield from _members(node.right)
    else:
        yield node


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(name: str) -> str:
    return name.rpartition(".")[2]
