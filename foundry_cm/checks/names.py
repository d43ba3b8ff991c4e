"""What a name stands for in the Python files of a module, across files."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from foundry_cm.checks.source import Source

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
DEEPEST = 20


@dataclass(frozen=True)
class Definition:
    """A class, a function or a value that a file defines at its top."""

    source: Source
    name: str
    node: ast.stmt

    @property
    def value(self) -> ast.expr | None:
        """What is assigned to the name, where it is a value."""
        return getattr(self.node, "value", None)


class Names:
    """The names of all files; `sources` are by the name that they are imported by."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources

    def find(self, source: Source, node: ast.AST | None, depth: int = 0) -> Definition | str:
        """What an expression of a file names: a definition of the module, or a dotted name outside.

        A name that nothing defines is itself, as those of Python's built-ins are; an expression that
        is no name is "".
        """
        if isinstance(node, ast.Attribute):
            inner = self.find(source, node.value, depth)
            return (
                self.outside(f"{inner}.{node.attr}", depth)
                if inner and isinstance(inner, str)
                else ""
            )
        if not isinstance(node, ast.Name):
            return ""
        return self._in_file(source, node.id, depth) or node.id

    def outside(self, dotted: str, depth: int = 0) -> Definition | str:
        """What a dotted name stands for, which may be re-exported by a file of the module."""
        parts = dotted.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            source = self.sources.get(".".join(parts[:cut]))
            if source and depth < DEEPEST:
                found = self._in_file(source, parts[cut], depth + 1)
                rest = ".".join(parts[cut + 1 :])
                if not found or not rest:
                    return found or dotted
                return f"{found}.{rest}" if isinstance(found, str) else ""
        return dotted

    def _in_file(self, source: Source, name: str, depth: int) -> Definition | str:
        if node := source.top.get(name):
            return Definition(source, name, node)
        if depth >= DEEPEST:
            return ""
        if target := source.targets.get(name):
            return self.outside(target, depth + 1)
        own = (self.sources[stem] for stem in source.stars if stem in self.sources)
        for each in own:
            if found := self._in_file(each, name, depth + 1):
                return found
        return ""

    def dotted(self, source: Source, node: ast.AST | None) -> str:
        """The dotted name outside that an expression names; "" for what the module defines itself."""
        found = self.find(source, node)
        return found if isinstance(found, str) else ""
