"""Finds files of src/ whose functions would be missing in Foundry."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from compute_modules.function_registry.function_registry import FUNCTION_SCHEMAS

from ..startup import SRC


def forgotten(files: Iterable[ModuleType]) -> str | None:
    """What is wrong: a file with functions that start() does not get, or two functions with one name."""
    given = {Path(file.__file__).resolve(): file.__name__ for file in files if file.__file__}
    missing = [found for found in _with_functions() if found[0].resolve() not in given]
    if missing:
        where = ", ".join(f"{path.relative_to(SRC).as_posix()}:{line}" for path, line in missing)
        modules = [_module_name(path) for path, _ in missing]
        everything = ", ".join(sorted([*given.values(), *modules]))
        return (
            f"start() is not given every file with functions: {where}. "
            f"Write in app.py: import {', '.join(modules)}, and at its end start({everything})"
        )
    names = [schema["functionName"] for schema in FUNCTION_SCHEMAS]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"Two functions have one name: {', '.join(twice)}"
    return None


def _module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _with_functions() -> Iterator[tuple[Path, int]]:
    """Each file beside app.py that has a function under @function, and the line of the first one."""
    for path in sorted(SRC.rglob("*.py")):
        if path == SRC / "app.py" or SRC / "cmkit" in path.parents:
            continue
        try:
            nodes = ast.walk(ast.parse(path.read_bytes()))
        except (SyntaxError, ValueError):
            continue  # no Python, so it has no functions
        served = [node for node in nodes if isinstance(node, ast.FunctionDef) and _is_served(node)]
        if served:
            yield path, min(node.lineno for node in served)


def _is_served(node: ast.FunctionDef) -> bool:
    """Whether it is decorated with @function, @function(...) or @cmkit.function."""
    calls = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(ast.unparse(each).split(".")[-1] == "function" for each in calls)
