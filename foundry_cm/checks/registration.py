"""The SDK's decorator `function`, under whatever name and in whatever wrapping a module uses it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from foundry_cm.checks.names import Definition, Names
from foundry_cm.checks.source import Source, own_nodes

_DEEPEST = 8


class Registration(NamedTuple):
    """How a decorator registers a function: as a stream, and with what the template puts around it."""

    streaming: bool = False
    wrapped: bool = False


def of(names: Names, source: Source, node: ast.expr | None, depth: int = 0) -> Registration | None:
    """What an expression registers functions as; None where it is not the SDK's decorator.

    It may have another name, be made by `functools.partial`, or be returned by a function of the module.
    """
    if node is None or depth > _DEEPEST:
        return None
    if isinstance(node, ast.Call):
        given = node.args[0] if node.args else None
        if names.dotted(source, node.func) == "functools.partial":
            found = of(names, source, given, depth + 1)
        else:
            found = of(names, source, node.func, depth + 1)
        return found and found._replace(streaming=found.streaming or is_streaming(node))
    written, target = source.resolve(node), names.dotted(source, node)
    if written.startswith("cmkit.") and written.endswith(".function"):
        return Registration(wrapped=True)
    if target.startswith("compute_modules.") and target.endswith(".function"):
        return Registration()
    found_there = names.find(source, node)
    if isinstance(found_there, str):
        return None
    value = found_there.value
    if value is not None and not (isinstance(value, ast.Call) and _gives_functions(value)):
        return of(names, found_there.source, value, depth + 1)
    return _returned(names, found_there, depth)


def _returned(names: Names, factory: Definition, depth: int) -> Registration | None:
    """What a function of the module returns, which is used as a decorator or makes one."""
    if not isinstance(factory.node, ast.FunctionDef):
        return None
    for line in own_nodes(factory.node):
        if isinstance(line, ast.Return) and line.value is not None:
            found = of(names, factory.source, line.value, depth + 1)
            if found:
                return found
    return None


def _gives_functions(call: ast.Call) -> bool:
    """Whether it is called with a function, so that it gives one: `echo = function(echo)`."""
    return bool(call.args) and not ast.unparse(call.func).endswith("partial")


def is_streaming(call: ast.expr) -> bool:
    """Whether a call says `streaming=True`."""
    keys = call.keywords if isinstance(call, ast.Call) else []
    return any(
        key.arg == "streaming" and not (isinstance(key.value, ast.Constant) and not key.value.value)
        for key in keys
    )
