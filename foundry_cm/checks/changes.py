"""What a function changes that outlives its call."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from foundry_cm.checks.calls import Visit
from foundry_cm.checks.program import Definition, Program
from foundry_cm.checks.source import own_nodes

_CHANGES = {"append", "add", "update", "extend", "insert", "pop", "popitem", "setdefault", "clear", "remove", "discard", "appendleft"}  # fmt: skip
_MUTABLE = {"list", "dict", "set", "collections.defaultdict", "collections.deque", "collections.Counter", "collections.OrderedDict"}  # fmt: skip
_GOES_ON = {"itertools.count", "itertools.cycle"}
_LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def changes(program: Program, visit: Visit) -> Iterator[tuple[int, str]]:
    """The lines at which a function changes what lies at the top of a file, and what that is.

    What an object at the top of a file holds lies there too.
    """
    once = visit.once()
    looking = _Looking(program, visit)
    for node in own_nodes(visit.node):
        if node not in once and (name := looking.changed(node)):
            yield getattr(node, "lineno", 1), name


class _Looking:
    def __init__(self, program: Program, visit: Visit) -> None:
        self.program, self.visit = program, visit
        inside = list(own_nodes(visit.node))
        given = visit.node.args
        args = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        self.globals = {name for n in inside if isinstance(n, ast.Global) for name in n.names}
        self.local = {arg.arg for arg in args} | {
            n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        # A list that is made once, with the function, and not for each call.
        by_place = [*given.posonlyargs, *given.args]
        defaults = list(zip(by_place[::-1], given.defaults[::-1], strict=False))
        self.kept = {
            arg.arg
            for arg, value in defaults
            if isinstance(value, _LITERALS) and arg.arg not in visit.given
        }

    def changed(self, node: ast.AST) -> str:
        """The name at the top of a file that a line of the function changes, or nothing."""
        if isinstance(node, ast.Call):
            return self._called(node)
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = list(node.targets)
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in self.globals:
                return target.id
            if isinstance(node, ast.AugAssign) and self._is_own(target):
                return ast.unparse(target)
            if isinstance(target, ast.Subscript | ast.Attribute):
                if self._is_shared(target.value):
                    return ast.unparse(target.value)
                if isinstance(target, ast.Attribute) and self._is_file(target.value):
                    return ast.unparse(target)
        return ""

    def _called(self, call: ast.Call) -> str:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGES:
            value = call.func.value
            if self._is_mutable(value) or (isinstance(value, ast.Name) and value.id in self.kept):
                return ast.unparse(value)
        if isinstance(call.func, ast.Name) and call.func.id == "next" and call.args:
            made = self._made(call.args[0])
            if (
                isinstance(made, ast.Call)
                and self.program.dotted(self.visit.source, made.func) in _GOES_ON
            ):
                return ast.unparse(call.args[0])
        return ""

    def _made(self, node: ast.expr) -> ast.expr | None:
        """What a name stands for that lies at the top of a file of the module."""
        if isinstance(node, ast.Name) and node.id in self.local - self.globals:
            return None
        found = self.program.find(self.visit.source, node)
        return found.value if isinstance(found, Definition) else None

    def _is_shared(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Name) or node.id in self.local:
            return isinstance(node, ast.Name) and node.id in self.kept
        found = self.program.find(self.visit.source, node)
        if not isinstance(found, Definition):
            return False
        # Each thread has its own.
        made = found.value.func if isinstance(found.value, ast.Call) else None
        return self.program.dotted(found.source, made) != "threading.local"

    def _is_mutable(self, node: ast.expr) -> bool:
        made = self._made(node)
        if isinstance(made, ast.Call):
            return self.program.dotted(self.visit.source, made.func) in _MUTABLE
        return isinstance(made, _LITERALS)

    def _is_own(self, node: ast.expr) -> bool:
        """Whether it is `self.NAME` of an object that all calls share."""
        return (
            self.visit.shared
            and isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        )

    def _is_file(self, node: ast.expr) -> bool:
        """Whether it is another file of the module."""
        if not isinstance(node, ast.Name) or node.id in self.local:
            return False
        return self.visit.source.targets.get(node.id) in self.program.sources
