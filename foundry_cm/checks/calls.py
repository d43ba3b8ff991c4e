"""What a call of a handler runs: its own lines, and those of the module's functions that it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.program import FunctionNode, Program
from foundry_cm.checks.source import Source, own_nodes

_DEEPEST = 5
_CACHES = {
    "functools.cache",
    "functools.lru_cache",
    "cachetools.cached",
    "functools.cached_property",
}


@dataclass(frozen=True)
class Visit:
    """A function that runs for a call, and its names that depend on the event."""

    source: Source
    node: FunctionNode
    given: frozenset[str]

    def depends(self, node: ast.AST) -> bool:
        """Whether an expression of it depends on the event."""
        return any(isinstance(each, ast.Name) and each.id in self.given for each in ast.walk(node))

    def once(self) -> set[ast.AST]:
        """What it runs only the first time: below `if X is None`, `if not X` and `if X not in Y`."""
        return {
            inner
            for each in own_nodes(self.node)
            if isinstance(each, ast.If) and _asks_for_nothing(each.test)
            for line in each.body
            for inner in ast.walk(line)
        }


def visits(program: Program, source: Source, node: FunctionNode) -> Iterator[Visit]:
    """A function and all that it calls in the module, each once for what depends on the event."""
    seen: set[tuple[str, int, frozenset[str]]] = set()
    names = frozenset(arg.arg for arg in [*node.args.posonlyargs, *node.args.args])
    waiting = [(source, node, names, 0)]
    while waiting:
        source, node, given, depth = waiting.pop()
        key = (source.path, node.lineno, given)
        if key in seen:
            continue
        seen.add(key)
        visit = Visit(source, node, _spread(node, given, source))
        yield visit
        once = visit.once()
        for call in own_nodes(node):
            if not isinstance(call, ast.Call) or call in once or depth >= _DEEPEST:
                continue
            found, bound = program.called(source, call) or (None, False)
            if found is None or not isinstance(found.node, FunctionNode):
                continue
            if not is_cached(program, found.source, found.node):
                passed = _passed(visit, call, found.node, bound)
                waiting.append((found.source, found.node, passed, depth + 1))


def is_cached(program: Program, source: Source, node: FunctionNode) -> bool:
    """Whether a function keeps its result."""
    names = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(program.dotted(source, name) in _CACHES for name in names)


def _passed(visit: Visit, call: ast.Call, node: FunctionNode, bound: bool) -> frozenset[str]:
    """The parameters of a function that get something which depends on the event."""
    names = [arg.arg for arg in [*node.args.posonlyargs, *node.args.args]][bound:]
    by_place = {name for name, value in zip(names, call.args, strict=False) if visit.depends(value)}
    by_name = {key.arg for key in call.keywords if key.arg and visit.depends(key.value)}
    return frozenset(by_place | by_name)


def _spread(node: FunctionNode, given: frozenset[str], source: Source) -> frozenset[str]:
    """The names of a function that depend on others: what is assigned from them, loops over them.

    A temporary file is another one for each call, as what depends on the event.
    """
    pairs = [pair for each in own_nodes(node) for pair in _bindings(each)]
    fresh = {
        name.id
        for target, value in pairs
        if any(_is_temporary(source, each) for each in ast.walk(value))
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    names = set(given) | fresh
    while True:
        more = {
            name.id
            for target, value in pairs
            if any(isinstance(v, ast.Name) and v.id in names for v in ast.walk(value))
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if more <= names:
            return frozenset(names)
        names |= more


def _is_temporary(source: Source, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and source.resolve(node.func).startswith("tempfile.")


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, node.context_expr


def _asks_for_nothing(test: ast.expr) -> bool:
    return any(
        (isinstance(each, ast.UnaryOp) and isinstance(each.op, ast.Not))
        or (isinstance(each, ast.Compare) and isinstance(each.ops[0], ast.Is | ast.NotIn))
        for each in ast.walk(test)
    )
