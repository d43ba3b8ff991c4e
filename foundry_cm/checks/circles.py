"""Values of a function that hold themselves, so that no JSON can be made of them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from foundry_cm.checks.program import FunctionNode
from foundry_cm.checks.source import own_nodes

_KEEPS = {"append", "add", "insert", "appendleft", "setdefault", "extend", "update"}


def circles(node: FunctionNode) -> Iterator[tuple[ast.AST, str]]:
    """The lines that close a circle in what a function returns, each with the name of a value in it.

    Names that are bound more than once stand for several values, and are left out.
    """
    inside = list(own_nodes(node))
    stores = Counter(
        n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    )
    holds: dict[str, set[str]] = {}
    kept = []
    for each in inside:
        for owner, value, later in _holding(each):
            held = {name for name in _names(value) if stores[name] < 2}
            holds.setdefault(owner, set()).update(held)
            kept += [(each, owner, held)] if later else []
    returned = [n.value for n in inside if isinstance(n, ast.Return) and n.value is not None]
    reached = _reached({name for value in returned for name in _names(value)}, holds)
    for each, owner, held in kept:
        if owner in reached and owner in _reached(held, holds):
            yield each, owner


def _holding(node: ast.AST) -> Iterator[tuple[str, ast.expr, bool]]:
    """Whose value holds another after a line: its name, the other, and whether it was there before."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, node.value, False
            elif owner := _owner(target):
                yield owner, node.value, True
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = _owner(node.func)
        if owner and node.func.attr in _KEEPS:
            for value in [*node.args, *(key.value for key in node.keywords)]:
                yield owner, value, True


def _owner(target: ast.expr) -> str:
    """The name that `a.b["c"]` begins with."""
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def _names(value: ast.expr) -> set[str]:
    """The names whose values are in a value: by themselves, in a list or a dict, or given to a class."""
    if isinstance(value, ast.Name):
        return {value.id}
    inner: list[ast.expr | None] = []
    if isinstance(value, ast.List | ast.Tuple):
        inner = [*value.elts]
    elif isinstance(value, ast.Dict):
        inner = [*value.values]
    elif (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id[:1].isupper()
    ):
        inner = [*value.args, *(key.value for key in value.keywords)]
    return {name for each in inner if each is not None for name in _names(each)}


def _reached(names: set[str], holds: dict[str, set[str]]) -> set[str]:
    """The names, and all that their values hold."""
    seen, waiting = set(names), list(names)
    while waiting:
        more = holds.get(waiting.pop(), set()) - seen
        seen |= more
        waiting += more
    return seen
