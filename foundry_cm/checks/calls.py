"""What a call of a handler runs: its own lines, and those of the module's functions that it calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.program import Definition, FunctionNode, Program
from foundry_cm.checks.source import Source, bindings, own_nodes

_DEEPEST = 5
_CACHES = {
    "functools.cache",
    "functools.lru_cache",
    "cachetools.cached",
    "functools.cached_property",
}
_NOT_THERE = {"KeyError", "AttributeError", "NameError", "LookupError", "IndexError"}
_CLOCK = re.compile(r"(^|\.)(time|monotonic|now|utcnow|expired|is_expired)$")


@dataclass(frozen=True)
class Visit:
    """A function that runs for a call, and its names that depend on the event."""

    source: Source
    node: FunctionNode
    given: frozenset[str]
    # It is a method of an object that all calls share.
    shared: bool = False

    def depends(self, node: ast.AST) -> bool:
        """Whether an expression of it depends on the event."""
        return any(isinstance(each, ast.Name) and each.id in self.given for each in ast.walk(node))

    def once(self) -> set[ast.AST]:
        """What it runs only the first time, to keep it.

        That is what stands below `if X is None`, `if not X` and `if X not in Y`, after
        `if X in Y: return Y[X]`, in the `except` of a look-up, and `X = X or make()`.
        """
        return {inner for line in firsts(self.node) for inner in ast.walk(line)}


def visits(
    program: Program, source: Source, node: FunctionNode, shared: bool = False
) -> Iterator[Visit]:
    """A function and all that it calls in the module, each once for what depends on the event."""
    seen: set[tuple[str, int, frozenset[str], bool]] = set()
    names = frozenset(arg.arg for arg in [*node.args.posonlyargs, *node.args.args])
    waiting = [(source, node, names, shared, 0)]
    while waiting:
        source, node, given, shared, depth = waiting.pop()
        key = (source.path, node.lineno, given, shared)
        if key in seen:
            continue
        seen.add(key)
        visit = Visit(source, node, _spread(node, given, source), shared)
        yield visit
        once = visit.once()
        for call in own_nodes(node):
            if not isinstance(call, ast.Call) or call in once or depth >= _DEEPEST:
                continue
            found, bound = program.called(source, call, node) or (None, False)
            if found is None or not isinstance(found.node, FunctionNode):
                continue
            if not is_cached(program, found.source, found.node):
                passed = _passed(visit, call, found.node, bound)
                is_shared = bound and _is_shared(program, visit, call)
                waiting.append((found.source, found.node, passed, is_shared, depth + 1))


def _is_shared(program: Program, visit: Visit, call: ast.Call) -> bool:
    """Whether the object of a method is one at the top of a file, or the shared one that calls it."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(owner, ast.Name) and owner.id == "self":
        return visit.shared
    found = program.find(visit.source, owner)
    return isinstance(found, Definition) and isinstance(found.value, ast.Call)


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
    pairs = [pair for each in own_nodes(node) for pair in bindings(each)]
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


def firsts(function: FunctionNode) -> Iterator[ast.stmt]:
    """The lines of a function that run only where something is not there yet."""
    for node in [function, *own_nodes(function)]:
        if isinstance(node, ast.If) and _asks_for_nothing(node.test):
            yield from node.body
        elif isinstance(node, ast.Try) and isinstance(node.body[0], ast.Return | ast.Assign):
            for each in node.handlers:
                if each.type is not None and set(_names(each.type)) & _NOT_THERE:
                    yield from each.body
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BoolOp):
            first = ast.unparse(node.value.values[0])
            if isinstance(node.value.op, ast.Or) and first in map(ast.unparse, node.targets):
                yield node
        blocks = (getattr(node, "body", None), getattr(node, "orelse", None))
        for block in (each for each in blocks if isinstance(each, list)):
            for number, line in enumerate(block):
                if _gives_what_is_there(function, line):
                    yield from block[number + 1 :]


def _gives_what_is_there(function: FunctionNode, line: ast.AST) -> bool:
    """Whether it is `if KEY in KEPT: return KEPT[KEY]`, or the like."""
    if not isinstance(line, ast.If) or line.orelse or not isinstance(line.body[-1], ast.Return):
        return False
    value = line.body[-1].value
    own = {arg.arg for arg in function.args.args} - {"self", "cls"}
    asks = not isinstance(line.test, ast.Compare) or isinstance(
        line.test.ops[0], ast.In | ast.IsNot
    )
    return asks and value is not None and bool((set(_names(line.test)) & set(_names(value))) - own)


def _names(node: ast.AST) -> Iterator[str]:
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _asks_for_nothing(test: ast.expr) -> bool:
    return any(
        (isinstance(each, ast.UnaryOp) and isinstance(each.op, ast.Not))
        or (isinstance(each, ast.Compare) and isinstance(each.ops[0], ast.Is | ast.NotIn))
        # What is kept for a time only: `if time.time() > EXPIRES`.
        or (isinstance(each, ast.Call) and _CLOCK.search(ast.unparse(each.func)))
        for each in ast.walk(test)
    )
