"""How functions get to the SDK: each once, before it starts, and where Foundry looks for them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Handler
from foundry_cm.checks.registry import Bad, Files, check
from foundry_cm.checks.rules.handlers import at
from foundry_cm.checks.shown import ECHO, bad, good
from foundry_cm.checks.source import Source, at_import, outermost

_ADD = "from compute_modules import add_function\n"
_OTHER = """from dataclasses import dataclass

from compute_modules.annotations import function


@dataclass
class Order:
    code: str


@function  #<
def price(context, event: Order) -> float:
    return 1.0
"""
_PLAIN = _OTHER.replace("  #<", "")


def _by_name(imports: str, root: str = "src/", command: str = "python -m shop") -> Files:
    """A module whose started file is named by `-m`, by an entry script, or by a script of the package."""
    return {
        "Dockerfile": f"FROM a:1\nCOPY . .\nENTRYPOINT {json.dumps(command.split())}\n",
        "pyproject.toml": '[project.scripts]\nserve = "shop.__main__:main"\n',
        "run.sh": "exec python -m shop\n",
        f"{root}shop/__init__.py": "",
        f"{root}shop/__main__.py": imports,
        f"{root}shop/orders.py": _PLAIN,
    }


_DYNAMIC = (
    "importlib.",
    "pkgutil.",
    "runpy.",
    "subprocess.",
    "os.exec",
    "os.system",
    "multiprocessing.",
)


@check(
    "CM207",
    "duplicate-function",
    bad=(
        bad(f"{ECHO}\n\n{ECHO.replace('str:', 'str:  #<')}"),
        bad(imports="import orders\n", files={"src/orders.py": _OTHER.replace("  #<", "").replace("def price(context, event: Order) -> float:", "def echo(context, event: Order) -> float:  #<")}),
        bad(f"{ECHO.replace('str:', 'str:  #<')}\n\nadd_function(echo)\n", imports=_ADD),
        Bad("two.py:12", {"Dockerfile": 'CMD ["python", "one.py"]\n', "one.py": _PLAIN + "\n\nimport two\n", "two.py": _PLAIN}),
        Bad("one.py:17", {"one.py": _PLAIN + _PLAIN.partition("\n\n\n")[2].partition("\n\n\n")[2].join(["\n\n", ""]), "two.py": _PLAIN}),
    ),
    good=(
        good(f"{ECHO}\n\n{ECHO.replace('echo', 'again')}"),
        {"one.py": _PLAIN, "two.py": _PLAIN},
        {"Dockerfile": 'CMD ["python", "one.py"]\n', "one.py": _PLAIN, "two.py": _PLAIN},
    ),
)  # fmt: skip
def duplicate(module: Module) -> Iterator[Finding]:
    """Two functions of one name, or one that is registered twice.

    The later one takes the calls of both, and Foundry's static inference refuses the module.
    """
    seen: dict[str, Handler] = {}
    for handler in _together(module):
        name = handler.node.name
        first = seen.setdefault(name, handler)
        if first is handler:
            continue
        if first.node is handler.node:
            message = f"{name} is registered twice"
            fix = "Decorate it, or give it to add_function: one of both."
        else:
            message = f"There is a function {name} already, {first.source.path}:{first.node.lineno}"
            fix = "Give it another name."
        yield at(handler, handler.node, message, fix)


def _together(module: Module) -> list[Handler]:
    """The handlers that run in one process; without src/, files can be modules of their own."""
    if any(path.startswith("src/") for path in module.python):
        return module.program.handlers
    found = []
    for source in module.python.values():
        own = {source.path} if source is not module.entry else module.program.reached(source)
        found = [h for h in module.program.handlers if h.source.path in own]
        if source is module.entry or len({h.node.name for h in found}) < len(found):
            return found
    return found


@check(
    "CM208",
    "function-after-start",
    bad=(
        bad("", tail="start_compute_module(ConcurrencyType.THREAD_POOL)\n\n\n" + ECHO.replace("str:", "str:  #<")),
        bad("def main() -> None:\n    start_compute_module(ConcurrencyType.THREAD_POOL)\n\n\nmain()\n\n\n" + ECHO.replace("str:", "str:  #<"), tail=""),
        bad("def late(context, event: Query) -> str:  #<\n    return ''\n", imports=_ADD, tail="\n\nstart_compute_module(ConcurrencyType.THREAD_POOL)\nadd_function(late)\n"),
    ),
    good=good(),
)  # fmt: skip
def after_start(module: Module) -> Iterator[Finding]:
    """A function that is registered below the line that starts the SDK.

    The start never comes back, so the lines below it do not run: the function is missing.
    """
    for source, line in _starting(module):
        for handler in module.program.handlers:
            if handler.by is source and handler.at.lineno > line:
                message = f"{handler.node.name} comes after the start, which never comes back"
                yield at(handler, handler.node, message, "Start as the last line of the file.")


def _starting(module: Module) -> Iterator[tuple[Source, int]]:
    """The lines that start the SDK where a file is run: by themselves, or by a function of the file."""
    inside = {id(start.node) for start in module.program.starts}
    for source in module.python.values():
        for node in outermost(source.tree):
            if not isinstance(node, ast.Call):
                continue
            called = source.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
            if id(node) in inside or (called and any(id(n) in inside for n in ast.walk(called))):
                yield source, node.lineno


@check(
    "CM209",
    "function-never-imported",
    bad=(
        bad(
            files={
                "src/orders.py": _OTHER.replace("float:", "float:  #<").replace(
                    "function  #<", "function"
                )
            }
        ),
        Bad("src/shop/orders.py:12", _by_name("")),
        Bad(
            "m/b.py:12", {"Dockerfile": 'CMD ["python", "a.py"]\n', "m/a.py": "", "m/b.py": _PLAIN}
        ),
        Bad("shop/orders.py:12", _by_name("", root="", command="serve")),
        Bad("shop/orders.py:12", _by_name("", root="", command="./run.sh")),
    ),
    good=(
        good(
            imports="import orders  # noqa: F401\n",
            files={"src/orders.py": _OTHER.replace("  #<", "")},
        ),
        _by_name("import shop.orders\n"),
        _by_name("import importlib\nimportlib.import_module('shop.orders')\n"),
        {"one.py": "", "app.py": "", "orders.py": _PLAIN},
        {"Dockerfile": 'CMD ["python", "a.py"]\n', "m/a.py": "import b\n", "m/b.py": _PLAIN},
    ),
)
def never_imported(module: Module) -> Iterator[Finding]:
    """A file with functions that the started file does not import, directly or through others.

    It never runs, so its functions are missing in the running module. Foundry's static inference reads
    every file, so they may be listed all the same.
    """
    entry = module.entry
    named = any(path.startswith("src/") for path in module.python) or module.lines("Dockerfile")
    if entry is None or not named:
        return
    reached = module.program.reached(entry)
    own = [
        each for path, each in module.python.items() if path in reached and module.is_owned(each)
    ]
    if any(source.error or _is_dynamic(source) for source in own):
        return
    started = {start.source.path for start in module.program.starts}
    for handler in module.program.handlers:
        if handler.by.path not in reached | started:
            message = (
                f"{entry.path} does not import this file: {handler.node.name} is never registered"
            )
            yield at(handler, handler.node, message, f"Import {handler.by.dotted} in {entry.path}.")


def _is_dynamic(source: Source) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (source.resolve(node.func) + ".").startswith((*_DYNAMIC, "__import__.", "exec."))
        for node in source.nodes
    )


@check(
    "CM210",
    "function-not-inferred",
    severity=Severity.WARNING,
    bad=(
        bad(imports="import halls  # noqa: F401\n", files={"src/halls/__init__.py": _OTHER.replace("float:", "float:  #<").replace("function  #<", "function")}),
        bad(imports="import halls.north  # noqa: F401\n", files={"src/halls/north.py": _OTHER.replace("float:", "float:  #<").replace("function  #<", "function")}),
        bad("def echo(context, event: Query) -> str:\n    return event.text\n\n\ncompute_modules.add_function(echo)  #<\n", imports="import compute_modules\n"),
        bad(
            "class Shop:\n    def sell(self, context, event: Query) -> str:\n        return event.text\n\n\nSHOP = Shop()\nadd_function(SHOP.sell)  #<\n",
            imports=_ADD,
        ),
        bad(
            "def echo(context, event: Query) -> str:\n    return event.text\n\n\ndef add_all(given):\n    for each in [echo]:  # noqa\n        add_function(each)\n\n\nfor one in [echo]:  #<\n    add_function(one)\n".replace("  #<", "").replace("[echo]:  # noqa\n        add_function(each)", "given:\n        print(each)").replace("add_function(one)", "add_function(one)  #<"),
            imports=_ADD,
        ),
        bad("if True:\n    def make():\n        @function\n        def echo(context, event: Query) -> str:  #<\n            return event.text\n\n    make()\n"),
        bad("def timed(call):\n    return call\n\n\n@timed  #<\n" + ECHO),
    ),
    good=(
        good("def echo(context, event: Query) -> str:\n    return event.text\n\n\nadd_function(echo)\n", imports=_ADD),
        {"Dockerfile": 'CMD ["python", "m/a.py"]\n', "m/a.py": "import b\n", "m/b.py": _PLAIN},
        good(f"{ECHO}\n\n{ECHO}"),
        good(imports="import halls.north  # noqa: F401\n", files={"src/halls/__init__.py": "", "src/halls/north.py": _OTHER.replace("  #<", "")}),
    ),
)  # fmt: skip
def not_inferred(module: Module) -> Iterator[Finding]:
    """A function that runs, and that Foundry's static inference does not see.

    In a Code Repository, and with the Functions CLI, the functions are read from the files before the
    module runs. Packages without `__init__.py`, the `__init__.py` itself, `compute_modules.add_function`
    with its package in front, and functions that are not at the top of their file are left out.
    """
    for handler in module.program.handlers:
        source, name = handler.by, handler.node.name
        folders = source.path.removeprefix(f"{source.root}/").split("/")[:-1]
        packages = ["/".join(folders[: n + 1]) for n in range(len(folders))]
        prefix = f"{source.root}/" if source.root else ""
        bare = [f for f in packages if f"{prefix}{f}/__init__.py" not in module.python]
        node: ast.AST = handler.node
        if source.path.endswith("__init__.py"):
            message = f"Static inference does not look into __init__.py: it misses {name}"
            fix = "Move the function into another file of the package."
        elif bare:
            message = f"{prefix}{bare[0]}/ has no __init__.py: static inference misses {name}"
            fix = f"Add an empty {prefix}{bare[0]}/__init__.py."
        elif handler.added:
            if not (missed := _missed_call(handler)):
                continue
            message, node = f"Static inference misses {name}: {missed}", handler.at
            fix = "Call it as add_function(name), with the name of a function of the file."
        # One that a later one of its name replaces is another check's.
        elif handler.node not in at_import(source.tree):
            message = f"{name} is not at the top of its file: static inference misses it"
            fix = "Define it at the top of the file."
        elif handler.node.decorator_list[0] is not handler.at:
            message = f"A decorator stands above @function: static inference misses {name}"
            fix, node = "Put @function first.", handler.node.decorator_list[0]
        else:
            continue
        yield Finding(message, source.path, fix, getattr(node, "lineno", 1))


def _missed_call(handler: Handler) -> str:
    if not isinstance(handler.at, ast.Name) or handler.at.id not in (
        {*handler.by.top, *handler.by.targets}
    ):
        return "it is no function of the file by its name"
    for call in handler.by.nodes:
        if (
            isinstance(call, ast.Call)
            and handler.at in call.args
            and not isinstance(call.func, ast.Name)
        ):
            return "add_function is called with its package in front"
    return ""
