"""What a module's own Python files say, as far as it explains a failure."""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SKIPPED = {"tests", "venv", "node_modules", "models", "outputs", "data", "build", "dist"}
_MOST_FILES, _MOST_BYTES = 500, 1_000_000

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Handler:
    """A function of a module in its own code."""

    file: Path
    node: FunctionNode
    tree: ast.Module

    @property
    def line(self) -> int:
        """The line of its name."""
        return self.node.lineno

    @property
    def is_async(self) -> bool:
        """Whether it is `async def`."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_generator(self) -> bool:
        """Whether what it returns is a generator, by its own `yield` or an expression."""
        return any(
            isinstance(each, ast.Yield | ast.YieldFrom)
            or (isinstance(each, ast.Return) and isinstance(each.value, ast.GeneratorExp))
            for each in _body(self.node)
        )

    @property
    def is_streaming(self) -> bool:
        """Whether it is registered for streaming."""
        return any(
            isinstance(each, ast.Call)
            and any(
                key.arg == "streaming"
                and isinstance(key.value, ast.Constant)
                and key.value.value is True
                for key in each.keywords
            )
            for each in self.node.decorator_list
        )

    @property
    def plain_class(self) -> str | None:
        """A class of the same file that is no dataclass and that it makes a result of."""
        classes = {
            each.name
            for each in self.tree.body
            if isinstance(each, ast.ClassDef) and not _is_dataclass(each)
        }
        made = (
            each.func.id
            for returned in _body(self.node)
            if isinstance(returned, ast.Return) and returned.value
            for each in _parts(returned.value)
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
        )
        return next((name for name in made if name in classes), None)

    def imports(self, *packages: str) -> str | None:
        """The first of these packages that its file imports."""
        found = set(_packages(self.tree))
        return next((package for package in packages if package in found), None)


class Program:
    """The files of a module that its command runs, as far as the command and their imports tell.

    Without a script in the command they are all files of the folder.
    """

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder = folder
        scripts = [folder / word for word in command if word.endswith(".py")]
        self.script = next(filter(Path.is_file, scripts), None)

    def find(self, name: str) -> Handler | None:
        """The function of a name; None where there is none, or more than one."""
        found = [
            Handler(file, node, tree)
            for file, tree in self._trees()
            for node in tree.body
            if isinstance(node, FunctionNode) and node.name == name
        ]
        return found[0] if len(found) == 1 else None

    def registered(self) -> set[str]:
        """The functions that are registered with the SDK's decorator."""
        return {
            node.name
            for _, tree in self._trees()
            for node in tree.body
            if isinstance(node, FunctionNode) and any(map(_is_function, node.decorator_list))
        }

    def uses_sdk(self) -> bool:
        """Whether any of its files imports the SDK, or the template's part that does."""
        packages = {"compute_modules", "cmkit"}
        return any(packages & set(_packages(tree)) for _, tree in self._trees())

    def _trees(self) -> Iterator[tuple[Path, ast.Module]]:
        for file in self._reached(self.script) if self.script else self._all():
            if tree := _tree(file):
                yield file, tree

    def _reached(self, script: Path) -> Iterator[Path]:
        """The script, and what it imports from beside it."""
        todo, seen = [script], {script}
        while todo and len(seen) < _MOST_FILES:
            file = todo.pop()
            yield file
            tree = _tree(file)
            for name in _imported(tree, file.parent, script.parent) if tree else ():
                for found in (name.with_suffix(".py"), name / "__init__.py"):
                    if found not in seen and found.is_file():
                        seen.add(found)
                        todo.append(found)

    def _all(self) -> list[Path]:
        files: list[Path] = []
        for file in self.folder.rglob("*.py"):
            parts = file.relative_to(self.folder).parts
            if not any(part in _SKIPPED or part.startswith(".") for part in parts):
                files.append(file)
            if len(files) == _MOST_FILES:
                break
        return sorted(files)


def postpones_annotations(file: Path) -> bool:
    """Whether a file has `from __future__ import annotations`."""
    tree = _tree(file)
    return tree is not None and any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(each.name == "annotations" for each in node.names)
        for node in tree.body
    )


def is_caught(file: Path, line: int) -> bool:
    """Whether what is raised by a line of a file's top level is caught there, as far as can be told."""
    tree = _tree(file)
    if tree is None:
        return False
    return any(
        isinstance(node, ast.Try | ast.TryStar)
        and node.handlers
        and node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0)
        for node in ast.walk(tree)
    )


def _tree(file: Path) -> ast.Module | None:
    try:
        found = file.stat()
        if found.st_size > _MOST_BYTES:
            return None
        return _parsed(file, found.st_mtime_ns)
    except (OSError, ValueError):
        return None


@functools.lru_cache(maxsize=_MOST_FILES)
def _parsed(file: Path, _changed: int) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _body(node: FunctionNode) -> Iterator[ast.AST]:
    """What stands in a function, without the functions and classes in it."""
    todo: list[ast.AST] = list(node.body)
    while todo:
        each = todo.pop()
        yield each
        if not isinstance(each, FunctionNode | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(each)


def _parts(value: ast.expr) -> Iterator[ast.expr]:
    """A value, and what it is made of where it is a list, a tuple or a record."""
    yield value
    inner: list[ast.expr] = []
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        inner = value.elts
    elif isinstance(value, ast.Dict):
        inner = value.values
    elif isinstance(value, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        inner = [value.elt]
    elif isinstance(value, ast.DictComp):
        inner = [value.value]
    for each in inner:
        yield from _parts(each)


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = {
        _last(each.func if isinstance(each, ast.Call) else each) for each in node.decorator_list
    }
    return bool(names & {"dataclass", "dataclasses"}) or bool(node.bases)


def _is_function(decorator: ast.expr) -> bool:
    return _last(decorator.func if isinstance(decorator, ast.Call) else decorator) == "function"


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _packages(tree: ast.Module) -> Iterator[str]:
    """The packages that a file imports, by their first names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _imported(tree: ast.Module, package: Path, root: Path) -> Iterator[Path]:
    """Where what a file imports may lie, without a suffix."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _along(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = root if not node.level else package
            for _ in range(node.level - 1):
                base = base.parent
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _along(base, [*parts, alias.name])


def _along(base: Path, parts: list[str]) -> Iterator[Path]:
    """A dotted name as a path, with each package on the way."""
    for part in parts:
        if not part.isidentifier():
            return
        base /= part
        yield base
