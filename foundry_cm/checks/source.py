"""A Python file as the checks read it: parsed, never run."""

from __future__ import annotations

import ast
import importlib
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from foundry_cm.module.files import text_lines

_OF_THE_SDK = (
    "function", "add_function", "add_functions", "start_compute_module", "ConcurrencyType", "QueryContext",
    "get_source",
)  # fmt: skip
# Parts of Python that nothing happens in when they are imported.
_PLAIN = {"typing", "dataclasses", "datetime", "enum", "decimal", "collections", "collections.abc", "math", "pathlib", "functools"}  # fmt: skip


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every statement that may run while a file is imported: not those of functions and classes."""
    waiting: list[ast.stmt] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inner = [
            *(getattr(node, "body", []) if not is_main(node) else []),
            *(line for handler in getattr(node, "handlers", []) for line in handler.body),
            *getattr(node, "orelse", []),
            *getattr(node, "finalbody", []),
        ]
        waiting += reversed(inner)


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All that is in a function, without what is in functions and classes inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        ):
            yield child
            yield from own_nodes(child)


def outermost(tree: ast.Module) -> set[ast.AST]:
    """All that runs when the file is started: not what is in functions and classes."""
    return {inner for line in tree.body for inner in (line, *own_nodes(line)) if not _defines(line)}


def _defines(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a line binds, and to what; a loop binds its target to what it loops over."""
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, node.context_expr


def is_main(node: ast.AST) -> bool:
    """Whether it is `if __name__ == "__main__":`, whose lines run in the started file alone."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and "__name__" in (ast.unparse(node.test.left), *map(ast.unparse, node.test.comparators))
    )


def _names_of(package: str) -> list[str]:
    """The names that `import *` brings in from the SDK, and from the parts of Python that modules use so."""
    if package.partition(".")[0] == "compute_modules":
        return list(_OF_THE_SDK)
    found = importlib.import_module(package) if package in _PLAIN else None
    return list(getattr(found, "__all__", dir(found))) if found else []


@dataclass(frozen=True)
class Import:
    """A name that an import brings into a file: `from a import b as c` is `c`, for `a.b`."""

    name: str
    target: str
    line: int


def decode(content: bytes) -> tuple[str, str]:
    """The text of a Python file, and why Python takes it for none."""
    plain = content.decode("utf-8-sig", errors="replace")
    if b"\0" in content:
        return "", "it has zero bytes in it, as a file in UTF-16 has"
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding), ""
    except SyntaxError as error:
        return plain, error.msg
    except ValueError:
        return plain, "it is not UTF-8, and its first line names no other code"


@dataclass(frozen=True)
class Source:
    """One Python file. `path` is relative to the module's folder, `root` the folder it is imported from."""

    path: str
    text: str
    root: str = ""
    # Why no text can be made of the file, where that is so.
    broken: str = ""

    @cached_property
    def lines(self) -> list[str]:
        """Its lines, without their ends."""
        return text_lines(self.text)

    @cached_property
    def _parsed(self) -> ast.Module | SyntaxError:
        if self.broken:
            return SyntaxError(self.broken)
        try:
            return ast.parse(self.text, self.path)
        except SyntaxError as error:
            return error
        except (RecursionError, MemoryError):
            return SyntaxError("it is nested too deeply")
        except ValueError as error:
            return SyntaxError(str(error))

    @property
    def tree(self) -> ast.Module:
        """The parsed file; one that is not Python is as good as empty."""
        return self._parsed if isinstance(self._parsed, ast.Module) else ast.Module([], [])

    @property
    def error(self) -> SyntaxError | None:
        """Why it is not Python, if it is not."""
        return self._parsed if isinstance(self._parsed, SyntaxError) else None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All that is in it, in the order of `ast.walk`."""
        return list(ast.walk(self.tree))

    @property
    def dotted(self) -> str:
        """The name that it is imported by, such as `halls.level` for `src/halls/level.py`."""
        inner = self.path.removeprefix(f"{self.root}/") if self.root else self.path
        return inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def imports(self) -> list[Import]:
        """What its imports bring in, those inside functions too; a relative import is made absolute."""
        found = []
        package = self.dotted.split(".")
        if not self.path.endswith("__init__.py"):
            package = package[:-1]
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    target = alias.name if alias.asname else name
                    found.append(Import(name, target, node.lineno))
                    if target != alias.name:
                        found.append(Import(alias.name, alias.name, node.lineno))
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                stem = ".".join([*base, *filter(None, [node.module])])
                found += [
                    Import(alias.asname or alias.name, f"{stem}.{alias.name}", node.lineno)
                    for alias in node.names
                ]
        return found

    @cached_property
    def targets(self) -> dict[str, str]:
        """What each imported name stands for."""
        every = {name: f"{stem}.{name}" for stem in self.stars for name in _names_of(stem)}
        return every | {f.name: f.target for f in self.imports if f.name.isidentifier()}

    @property
    def stars(self) -> list[str]:
        """What it imports all names of: `from a import *`."""
        return [found.target.removesuffix(".*") for found in self.imports if found.name == "*"]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """Its classes, the inner ones first."""
        found = [node for node in self.nodes if isinstance(node, ast.ClassDef)]
        return found[::-1]

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        """The functions at the top of the file, those too whose name stands for something else later."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return {node.name: node for node in at_import(self.tree) if isinstance(node, kinds)}

    @cached_property
    def top(self) -> dict[str, ast.stmt]:
        """The statements that define names at the top of the file; the last one of each name."""
        found: dict[str, ast.stmt] = {}
        for node in at_import(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign):
                found |= {t.id: node for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = node
            elif type(node).__name__ == "TypeAlias":
                found[node.name.id] = node  # type: ignore[attr-defined]  # Python 3.12
        return found

    def resolve(self, node: ast.AST | None) -> str:
        """The dotted name behind a name or attribute, through the file's imports; `""` for all else.

        With `import numpy as np`, `np.float32` is `numpy.float32`. A name that no import brings in
        stays as it is written.
        """
        if isinstance(node, ast.Attribute):
            inner = self.resolve(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        if isinstance(node, ast.Name):
            return self.targets.get(node.id, node.id)
        return ""
