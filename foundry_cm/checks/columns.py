"""The columns of a table of PyArrow, as far as an expression shows them."""

from __future__ import annotations

import ast

from foundry_cm.checks.program import FunctionNode
from foundry_cm.checks.source import Source, own_nodes

_TABLES = {"pyarrow.table", "pyarrow.Table.from_pydict", "pyarrow.Table.from_arrays"}


def columns_of(
    source: Source, function: FunctionNode, value: ast.expr, given: set[str], depth: int = 0
) -> set[str] | None:
    """The names of the columns; None where they are not sure. `given` are those of the argument."""
    if depth > 10:
        return None
    if isinstance(value, ast.Name):
        return _of_name(source, function, value.id, given, depth)
    if not isinstance(value, ast.Call):
        return None
    if source.resolve(value.func) in _TABLES:
        return _of_table(value)
    if not isinstance(value.func, ast.Attribute):
        return None
    inner = columns_of(source, function, value.func.value, given, depth + 1)
    names = _texts(value.args[0]) if value.args else None
    verb = value.func.attr
    if verb in ("select", "rename_columns"):
        return names
    if inner is None:
        return None
    if verb in ("slice", "filter", "take", "sort_by", "combine_chunks"):
        return inner
    if names is None:
        return None
    if verb == "append_column":
        return inner | names
    if verb in ("drop", "drop_columns"):
        return inner - names
    return None


def _of_name(
    source: Source, function: FunctionNode, name: str, given: set[str], depth: int
) -> set[str] | None:
    """Those of a local name that is assigned once, or of the argument."""
    assigned = [
        node.value
        for node in own_nodes(function)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]
    if len(assigned) == 1:
        return columns_of(source, function, assigned[0], given, depth + 1)
    first = function.args.args[0].arg if function.args.args else ""
    return given or None if not assigned and name == first else None


def _of_table(call: ast.Call) -> set[str] | None:
    names = next((key.value for key in call.keywords if key.arg == "names"), None)
    if names is not None:
        return _texts(names)
    if not call.args or not isinstance(call.args[0], ast.Dict):
        return None
    keys = [key.value for key in call.args[0].keys if isinstance(key, ast.Constant)]
    return {str(key) for key in keys} if len(keys) == len(call.args[0].keys) else None


def _texts(node: ast.expr) -> set[str] | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.List | ast.Tuple):
        found = [each.value for each in node.elts if isinstance(each, ast.Constant)]
        return {str(each) for each in found} if len(found) == len(node.elts) else None
    return None
