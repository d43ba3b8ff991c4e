"""Failures that a handler hides from its caller."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Handler
from foundry_cm.checks.registry import check
from foundry_cm.checks.rules.handlers import at
from foundry_cm.checks.shown import bad, good
from foundry_cm.checks.source import own_nodes


@check(
    "CM248",
    "empty-on-failure",
    severity=Severity.WARNING,
    bad=(
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except Exception:\n        return []  #<\n"),
        bad("@function\ndef find(context, event: Query) -> str:\n    try:\n        return event.text.strip()\n    except:  # noqa: E722\n        print('no')\n        return ''  #<\n"),
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except Exception as error:\n        print(error)\n    return []  #<\n"),
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    with suppress(Exception):\n        return [event.text.strip()]\n    return []  #<\n", imports="from contextlib import suppress\n"),
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    found: list[str] = []\n    if event.text:\n        try:\n            found = event.text.split()\n        except Exception:\n            pass\n        return found  #<\n    return ['']\n"),
    ),
    good=(
        good("@function\ndef find(context, event: Query) -> str:\n    try:\n        return event.text.strip()\n    except Exception:\n        return 'failed'\n"),
        good("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        print(event.text)\n    except Exception:\n        pass\n    return []\n"),
        good("@function\ndef find(context, event: Query) -> str:\n    found = event.text\n    try:\n        found = found.strip()\n    except Exception:\n        pass\n    return found\n"),
        good("@function\ndef find(context, event: Query) -> list[str]:\n    found = []\n    try:\n        print(event.text)\n    except Exception:\n        pass\n    return found\n"),
        good("@function\ndef find(context, event: Query) -> list[str]:\n    found = []\n    for text in event.text.split():\n        try:\n            found = [*found, text.strip()]\n        except Exception:\n            print(text)\n    return found\n"),
        good("@function\ndef find(context, event: Query) -> str:\n    try:\n        return event.text.strip()\n    except Exception:\n        print('no')\n    print('again')\n    return ''\n"),
        good("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except KeyError:\n        return []\n"),
        good("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except Exception:\n        print('no')\n        raise\n"),
    ),
)  # fmt: skip
def empty_on_failure(module: Module) -> Iterator[Finding]:
    """A handler that catches everything and returns an empty result.

    A broken module then looks like one that found nothing, in Workshop as well as in the log.
    """
    for handler in module.program.handlers:
        for node in own_nodes(handler.node):
            if isinstance(node, ast.With) and _suppresses_all(handler, node):
                inside = [inner for line in node.body for inner in ast.walk(line)]
                last = _below(handler, node)
                if (
                    last
                    and any(isinstance(i, ast.Return) for i in inside)
                    and _is_empty(last.value)
                ):
                    yield _empty(handler, last)
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(handler, node):
                continue
            inside = [inner for line in node.body for inner in ast.walk(line)]
            if any(isinstance(inner, ast.Raise) for inner in inside):
                continue
            returns = [inner for inner in inside if isinstance(inner, ast.Return)]
            for inner in returns or _after(handler, node):
                if _is_empty(inner.value) or (not returns and isinstance(inner.value, ast.Name)):
                    yield _empty(handler, inner)


def _empty(handler: Handler, node: ast.Return) -> Finding:
    message = f"{handler.node.name} answers every failure with an empty result"
    fix = "Catch what you expect, and raise: the call then fails, and the log says why."
    return at(handler, node, message, fix)


def _suppresses_all(handler: Handler, node: ast.With) -> bool:
    """Whether it is `with suppress(Exception):`."""
    call = node.items[0].context_expr
    if not isinstance(call, ast.Call) or handler.source.resolve(call.func) != "contextlib.suppress":
        return False
    return any(handler.source.resolve(arg) in ("Exception", "BaseException") for arg in call.args)


def _below(handler: Handler, node: ast.stmt) -> ast.Return | None:
    """The line below a block, where that returns."""
    for block in [handler.node, *own_nodes(handler.node)]:
        lines = getattr(block, "body", None)
        for before, line in pairwise(lines if isinstance(lines, list) else []):
            if before is node:
                return line if isinstance(line, ast.Return) else None
    return None


def _after(handler: Handler, node: ast.ExceptHandler) -> list[ast.Return]:
    """The line below a `try`, where it returns what is empty unless the `try` came to its end."""
    for block in [handler.node, *own_nodes(handler.node)]:
        lines = getattr(block, "body", None)
        for before, line in pairwise(lines if isinstance(lines, list) else []):
            if not isinstance(before, ast.Try) or node not in before.handlers:
                continue
            if not isinstance(line, ast.Return):
                return []
            tried = [inner for each in before.body for inner in ast.walk(each)]
            if isinstance(line.value, ast.Name):
                name = line.value.id
                set_there = any(
                    isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store)
                    for n in tried
                )
                return [line] if set_there and _begins_empty(handler, name, before) else []
            return [line] if any(isinstance(inner, ast.Return) for inner in tried) else []
    return []


def _begins_empty(handler: Handler, name: str, before: ast.Try) -> bool:
    """Whether a name is something empty until a line, and is bound there alone."""
    values = [
        each.value
        for each in own_nodes(handler.node)
        if isinstance(each, ast.Assign | ast.AnnAssign)
        and not before.lineno <= each.lineno <= (before.end_lineno or 0)
        and any(
            isinstance(t, ast.Name) and t.id == name
            for t in (each.targets if isinstance(each, ast.Assign) else [each.target])
        )
    ]
    return len(values) == 1 and _is_empty(values[0])


def _is_broad(handler: Handler, node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(
        kind is None or handler.source.resolve(kind) in ("Exception", "BaseException")
        for kind in kinds
    )


def _is_empty(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return (
            isinstance(value.func, ast.Name)
            and value.func.id in ("list", "dict", "str")
            and not value.args
        )
    if isinstance(value, ast.List | ast.Tuple):
        return not value.elts
    if isinstance(value, ast.Dict):
        return not value.keys
    return value is None or (isinstance(value, ast.Constant) and value.value in (None, "", 0, 0.0))
