"""The Python files of a module as one program: what a name stands for, across files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from foundry_cm.checks import registration
from foundry_cm.checks.names import DEEPEST, Definition, FunctionNode, Names
from foundry_cm.checks.source import Source, own_nodes

__all__ = ["Definition", "FunctionNode", "Handler", "Program", "Start"]

_SDK = "compute_modules."


@dataclass(frozen=True)
class Handler:
    """A function that the SDK registers: by its decorator, or by a call of `add_function`."""

    source: Source
    node: FunctionNode
    by: Source
    at: ast.expr
    added: bool = False
    streaming: bool = False
    wrapped: bool = False
    method: bool = False
    # It is called by a handler, and is looked at in its place.
    helper: bool = False

    @property
    def parameters(self) -> list[ast.arg]:
        """Its positional parameters, without `self`."""
        given = [*self.node.args.posonlyargs, *self.node.args.args]
        return given[1:] if self.method else given

    @property
    def event(self) -> ast.arg | None:
        """The parameter that gets the event."""
        return self.parameters[1] if len(self.parameters) > 1 else None


@dataclass(frozen=True)
class Start:
    """A call that starts the SDK; `threads` tells whether it asks for a pool of threads."""

    source: Source
    node: ast.Call
    threads: bool
    wrapped: bool


class Program(Names):
    """All of them together; `sources` are by the name that they are imported by."""

    @cached_property
    def handlers(self) -> list[Handler]:
        """Every registered function, in the order of the files."""
        found = []
        for source in self.sources.values():
            for node in source.nodes:
                if isinstance(node, FunctionNode):
                    found += [
                        h
                        for h in (self._decorated(source, node, d) for d in node.decorator_list)
                        if h
                    ]
                elif isinstance(node, ast.Call) and (
                    self._adds(source, node.func) or self._is_applied(source, node)
                ):
                    found += self._added(source, node)
        return found

    def _is_applied(self, source: Source, call: ast.Call) -> bool:
        """Whether the SDK's decorator is called with a function: `echo = function(echo)`."""
        is_one = len(call.args) == 1 and isinstance(call.args[0], ast.Name)
        return is_one and registration.of(self, source, call.func) is not None

    def _decorated(self, source: Source, node: FunctionNode, decorator: ast.expr) -> Handler | None:
        found = registration.of(self, source, decorator)
        return Handler(source, node, source, decorator, **found._asdict()) if found else None

    def _adds(self, source: Source, named: ast.expr) -> bool:
        target = self.dotted(source, named)
        return target.startswith(_SDK) and target.rpartition(".")[2] in (
            "add_function",
            "add_functions",
        )

    def _added(self, source: Source, call: ast.Call) -> Iterator[Handler]:
        given = [*call.args, *(key.value for key in call.keywords if key.arg == "function_ref")]
        for each in given:
            for definition, method in self._functions(source, each):
                if isinstance(definition.node, FunctionNode):
                    yield Handler(
                        definition.source, definition.node, source, each,
                        added=True, streaming=registration.is_streaming(call), method=method,
                    )  # fmt: skip

    def _functions(self, source: Source, given: ast.expr) -> Iterator[tuple[Definition, bool]]:
        """The functions that an argument of `add_function` can be: by name, from a loop, of an object."""
        if isinstance(given, ast.Starred):
            given = given.value
        if isinstance(given, ast.List | ast.Tuple | ast.Dict):
            for item in given.values if isinstance(given, ast.Dict) else given.elts:
                yield from self._functions(source, item)
            return
        if isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute):
            if given.func.attr in ("values", "items"):
                yield from self._functions(source, given.func.value)
            return
        if isinstance(given, ast.Attribute) and (owner := self.class_of(source, given.value)):
            if method := self.method(owner, given.attr):
                yield method
            return
        found = self.find(source, given)
        if isinstance(found, Definition):
            value = found.value
            if isinstance(value, ast.List | ast.Tuple | ast.Dict):
                yield from self._functions(found.source, value)
            elif value is None:
                yield found, False
            # The function has the name of what is made of it: `echo = function(echo)`.
            elif node := found.source.functions.get(found.name):
                yield Definition(found.source, found.name, node), False
        elif isinstance(given, ast.Name):
            for loop in source.nodes:
                if isinstance(loop, ast.For | ast.comprehension) and given.id in {
                    each.id for each in ast.walk(loop.target) if isinstance(each, ast.Name)
                }:
                    yield from self._functions(source, loop.iter)

    def called(
        self, source: Source, call: ast.Call, inside: FunctionNode | None = None
    ) -> tuple[Definition, bool] | None:
        """The function of the module that a call runs, and whether it has `self`.

        That of a class is its `__init__`, and that of an object a method: of one at the top of a file,
        or of one that the function makes which the call is `inside` of.
        """
        found = self.find(source, call.func)
        if isinstance(found, Definition) and isinstance(found.node, FunctionNode):
            return found, False
        if isinstance(found, Definition):
            return self.method(found, "__init__")
        if not isinstance(call.func, ast.Attribute):
            return None
        owner = self.class_of(source, call.func.value, inside)
        return self.method(owner, call.func.attr) if owner else None

    def method(
        self, owner: Definition, name: str, depth: int = 0
    ) -> tuple[Definition, bool] | None:
        """A function of a class or of those above it, and whether it has `self`."""
        for item in getattr(owner.node, "body", []):
            if isinstance(item, FunctionNode) and item.name == name:
                bound = not any(
                    owner.source.resolve(d) == "staticmethod" for d in item.decorator_list
                )
                return Definition(owner.source, name, item), bound
        for base in getattr(owner.node, "bases", []) if depth < DEEPEST else ():
            above = self.class_of(owner.source, base)
            if above and (found := self.method(above, name, depth + 1)):
                return found
        return None

    def class_of(
        self, source: Source, owner: ast.expr, inside: FunctionNode | None = None
    ) -> Definition | None:
        """The class of an object that a file or a function makes, or the class itself."""
        if isinstance(owner, ast.Name) and owner.id == "self":
            around = next((c for c in source.classes if _holds(c, owner)), None)
            return Definition(source, around.name, around) if around else None
        if isinstance(owner, ast.Name) and inside and (made := _made_in(inside, owner.id)):
            owner = made
        found = self.find(source, owner.func if isinstance(owner, ast.Call) else owner)
        if isinstance(found, Definition) and isinstance(found.value, ast.Call):
            found = self.find(found.source, found.value.func)
        if isinstance(found, Definition) and isinstance(found.node, ast.ClassDef):
            return found
        return None

    @cached_property
    def starts(self) -> list[Start]:
        """Every call that starts the SDK, or the start that the template renders around it."""
        found = []
        for source in self.sources.values():
            for node in source.nodes:
                if not isinstance(node, ast.Call):
                    continue
                wrapped = source.resolve(node.func) in (
                    "cmkit.start",
                    "cmkit.functions.start.start",
                )
                target = self.dotted(source, node.func)
                if wrapped or (
                    target.startswith(_SDK) and target.endswith(".start_compute_module")
                ):
                    given = [*node.args, *(key.value for key in node.keywords)]
                    threads = any("THREAD_POOL" in ast.unparse(value) for value in given)
                    found.append(Start(source, node, threads or wrapped, wrapped))
        return found

    def imports_of(self, source: Source) -> set[str]:
        """The files of the module that a file imports, by the names they are imported by."""
        found = set()
        for each in source.imports:
            parts = each.target.split(".")
            found |= {".".join(parts[:cut]) for cut in range(1, len(parts) + 1)}
        return found & self.sources.keys()

    def reached(self, entry: Source) -> set[str]:
        """The paths of the files that run when one of them is started: itself, and all it imports."""
        parts = entry.dotted.split(".")
        packages = [".".join(parts[:cut]) for cut in range(1, len(parts))]
        seen, waiting = set(), [entry, *(self.sources[p] for p in packages if p in self.sources)]
        while waiting:
            source = waiting.pop()
            if source.path not in seen:
                seen.add(source.path)
                waiting += [self.sources[name] for name in self.imports_of(source)]
        return seen


def _holds(node: ast.ClassDef, inner: ast.AST) -> bool:
    first, last = node.lineno, node.end_lineno or node.lineno
    return first <= getattr(inner, "lineno", 0) <= last


def _made_in(function: FunctionNode, name: str) -> ast.Call | None:
    """The call that makes what a name of a function is, where one line alone binds it."""
    bound = [
        node
        for node in own_nodes(function)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    value = bound[0].value if len(bound) == 1 else None
    return value if isinstance(value, ast.Call) else None
