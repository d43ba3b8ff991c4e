"""What a module imports from libraries, less what it can do without."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from foundry_cm.checks.module import Module
from foundry_cm.checks.source import Source

_IMPORTS = ("importlib.import_module", "__import__")
# What an image may well lack: another Python, another system, what somebody turns on by a variable.
_ELSEWHERE = re.compile(
    r"version_info|sys\.platform|os\.name|platform\.system|environ|getenv|find_spec"
)


def foreign(source: Source, module: Module) -> set[tuple[str, int]]:
    """The top-level names that a file imports from libraries, each with its line."""
    found: set[tuple[str, ast.AST]] = set()
    for node in source.nodes:
        if isinstance(node, ast.Import):
            found |= {(alias.name.partition(".")[0], node) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add((node.module.partition(".")[0], node))
        elif isinstance(node, ast.Call) and source.resolve(node.func) in _IMPORTS and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and re.match(r"[A-Za-z_]", str(name.value)):
                found.add((str(name.value).partition(".")[0], node))
    known = {*sys.stdlib_module_names, "__main__"} | module.once(_own_names)
    left = {(top, node) for top, node in found if top not in known}
    if not left:
        return set()
    optional = {inner for block in _optional(source) for inner in ast.walk(block)}
    asked = set(_asked_for(source))
    return {
        (top, getattr(node, "lineno", 1))
        for top, node in left
        if node not in optional and top not in asked
    }


def _own_names(module: Module) -> set[str]:
    """The names of its own files and folders, which are no library's."""
    return {
        part
        for path in module.files
        if path.endswith(".py")
        for part in re.split(r"[/.]", path)[:-1]
    }


def _optional(source: Source) -> Iterator[ast.stmt]:
    """The statements of which an import may fail, or that the image may not run."""
    for node in source.nodes:
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if "TYPE_CHECKING" in test:
                yield from node.orelse if test.startswith("not ") else node.body
            elif _ELSEWHERE.search(test):
                yield from [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            caught = " ".join(ast.unparse(h.type) if h.type else "Exception" for h in node.handlers)
            if re.search(r"\b(ImportError|ModuleNotFoundError|Exception)\b", caught):
                yield from node.body
        elif isinstance(node, ast.With) and "suppress" in ast.unparse(node.items[0].context_expr):
            yield from node.body


def _asked_for(source: Source) -> Iterator[str]:
    """The libraries that a file asks for, whether they are there: `find_spec("pandas")`."""
    calls = [node for node in source.nodes if isinstance(node, ast.Call) and node.args]
    for call in calls:
        asked = call.args[0]
        known = source.resolve(call.func) == "importlib.util.find_spec"
        if known and isinstance(asked, ast.Constant):
            yield str(asked.value).partition(".")[0]
