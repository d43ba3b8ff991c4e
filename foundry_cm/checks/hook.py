"""The SDK's exit hook, which starts a module while Python ends."""

from __future__ import annotations

import ast

from foundry_cm.checks.module import Module
from foundry_cm.checks.source import Source

ANNOTATIONS = "compute_modules.annotations"
OFF = "Write atexit.unregister(start_compute_module) below the imports."
_EXITS = {
    "sys.exit",
    "exit",
    "quit",
    "SystemExit",
    "KeyboardInterrupt",
    "signal.default_int_handler",
}


def hooks(module: Module) -> list[tuple[Source, int]]:
    """The imports that bring the hook, where nothing takes it away again."""
    for source in module.python.values():
        for node in source.nodes:
            if isinstance(node, ast.Call) and source.resolve(node.func) == "atexit.unregister":
                return []
    return [
        (source, each.line)
        for source in module.python.values()
        for each in source.imports
        if each.target.startswith(ANNOTATIONS)
    ]


def exits_at_sigterm(module: Module) -> bool:
    """Whether a handler of SIGTERM ends Python in the way that runs exit hooks."""
    for source in module.python.values():
        for node in source.nodes:
            if not isinstance(node, ast.Call) or source.resolve(node.func) != "signal.signal":
                continue
            if len(node.args) == 2 and source.resolve(node.args[0]) == "signal.SIGTERM":
                handler = node.args[1]
                named = source.functions.get(handler.id) if isinstance(handler, ast.Name) else None
                inside = {source.resolve(each) for each in ast.walk(named or handler)}
                if inside & _EXITS:
                    return True
    return False
