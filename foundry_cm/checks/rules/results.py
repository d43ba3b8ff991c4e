"""Values that a handler returns and that do not reach the caller."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from foundry_cm.checks.circles import circles
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Definition, Handler
from foundry_cm.checks.registry import check
from foundry_cm.checks.rules.handlers import at
from foundry_cm.checks.shown import bad, good
from foundry_cm.checks.source import own_nodes

_NUMPY = "import numpy as np\n"
_NAN = {"math.nan", "math.inf", "numpy.nan", "numpy.inf", "numpy.NaN", "numpy.Inf"}
_BYTES = {"bytes", "base64.b64encode", "base64.urlsafe_b64encode", "pickle.dumps", "zlib.compress"}
_NUMBERS = {
    f"numpy.{name}"
    for name in (
        "float16", "float32", "longdouble", "int8", "int16", "int32", "int64", "uint8", "uint16",
        "uint32", "uint64", "bool_", "array", "asarray", "zeros", "ones", "arange",
    )
}  # fmt: skip


def _returning(value: str, kind: str = "float") -> str:
    return f"@function\ndef give(context, event: Query) -> {kind}:\n    return {value}  #<\n"


@check(
    "CM227",
    "result-value",
    bad=(
        bad(_returning("np.float32(0.5)"), imports=_NUMPY),
        bad(_returning("float('nan')")),
        bad(_returning("math.inf"), imports="import math\n"),
        bad(_returning("{event.text}", "list[str]")),
        bad(_returning("(letter for letter in event.text)", "list[str]")),
        bad(_returning("b'done'", "str")),
        bad(_returning("event.text.strip.encode()", "str")),
        bad(_returning("base64.b64encode(event.text)", "str"), imports="import base64\n"),
        bad(_returning("[Shelf(), event.text]", "list[str]").replace("@function", "class Shelf:\n    number = 7\n\n\n@function", 1)),
        bad(_returning("node", "list[str]").replace("return node  #<", "node = {}\n    node['self'] = node  #<\n    return node")),
        bad(_returning("[parent]", "list[str]").replace("return [parent]  #<", "parent = {'rows': []}\n    child: dict = {'up': parent}\n    parent['rows'].append(child)  #<\n    return [parent]")),
        bad(_returning("score", "float").replace("return score", "score = np.float32(0.5)\n    return score"), imports=_NUMPY),
        bad(_returning("{'words': words}", "list[str]").replace("return {", "words: object = set(event.text)\n    return {")),
        bad(_returning("Result(np.float32(0.5))", "Result").replace("@function", "@dataclass\nclass Result:\n    score: float\n\n\n@function", 1), imports=_NUMPY),
    ),
    good=(
        good(_returning("float(np.float32(0.5))").replace("  #<", ""), imports=_NUMPY),
        good(_returning("np.array([1.0]).tolist()", "list[float]").replace("  #<", ""), imports=_NUMPY),
        good(_returning("sorted({event.text})", "list[str]").replace("  #<", "")),
        good(_returning("MODEL.encode(event.text)", "str").replace("  #<", "")),
        good(_returning("event.text.decode()", "str").replace("  #<", "")),
        good(_returning("words", "list[str]").replace("return words  #<", "words = set(event.text)\n    words = sorted(words)\n    return words")),
        good(_returning("words", "list[str]").replace("return words  #<", "for words in {event.text}, {''}:\n        return words")),
        good(_returning("words", "list[str]").replace("return words  #<", "more = {1}\n    words = len(more)\n    return words")),
        good(_returning("node", "list[str]").replace("return node  #<", "node = {}\n    for each in event.text:\n        node = {'inner': node}\n        node['each'] = each\n    return node")),
        good(_returning("child['name']", "str").replace("return child['name']  #<", "child = {'name': 'a'}\n    child['self'] = child\n    return child['name']")),
    ),
)  # fmt: skip
def result_value(module: Module) -> Iterator[Finding]:
    """A returned value that is no JSON.

    Sets, bytes, generators, objects of ordinary classes, NumPy's numbers (all but `float64`) and a value
    that holds itself end the call in "Circular reference detected". NaN and infinity are written as they are, which no reader of JSON takes.
    """
    for handler in module.program.handlers:
        for node in own_nodes(handler.node):
            if isinstance(node, ast.Return) and node.value is not None and not handler.streaming:
                for value, place in _values(module, handler, node.value, node.value):
                    found = _unfit(handler, value) or _object(module, handler, value)
                    if found:
                        message = f"{handler.node.name} returns {ast.unparse(value)}, {found[0]}"
                        yield at(handler, place, message, found[1])
        for node, held in circles(handler.node):
            message = f"{handler.node.name} returns {held}, which holds itself from here on"
            yield at(handler, node, message, "Leave the way back out, or send an id in its place.")


def _values(
    module: Module, handler: Handler, value: ast.expr, place: ast.expr
) -> Iterator[tuple[ast.expr, ast.expr]]:
    """A returned value and what it is made of, each with the place where it is returned.

    It is made of items, values of a dict, fields of a record; a name is what it is bound to, where
    that is one thing.
    """
    yield value, place
    inner: list[ast.expr] = []
    if isinstance(value, ast.Name):
        bound = _bound(handler, value.id)
        if bound is not None:
            yield from _values(module, handler, bound, place)
    elif isinstance(value, ast.List | ast.Tuple):
        inner = value.elts
    elif isinstance(value, ast.Dict):
        inner = value.values
    elif isinstance(value, ast.ListComp):
        inner = [value.elt]
    elif isinstance(value, ast.IfExp):
        inner = [value.body, value.orelse]
    elif isinstance(value, ast.Call) and _is_record(module, handler, value):
        inner = [*value.args, *(key.value for key in value.keywords)]
    for each in inner:
        yield from _values(module, handler, each, each if place is value else place)


def _bound(handler: Handler, name: str) -> ast.expr | None:
    """What a name of a handler is bound to, where only one line binds it, and to no other name."""
    inside = list(own_nodes(handler.node))
    stores = [n for n in inside if isinstance(n, ast.Name) and n.id == name and _is_store(n)]
    for node in inside if len(stores) == 1 else ():
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if stores[0] in targets and not isinstance(node.value, ast.Name):
                return node.value
    return None


def _is_store(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _is_record(module: Module, handler: Handler, call: ast.Call) -> bool:
    found = module.program.find(handler.source, call.func)
    return isinstance(getattr(found, "node", None), ast.ClassDef)


def _unfit(handler: Handler, value: ast.expr) -> tuple[str, str] | None:
    """Why a value is no JSON, and what to return in its place."""
    name = handler.source.resolve(value.func if isinstance(value, ast.Call) else value)
    if isinstance(value, ast.Set | ast.SetComp) or (
        isinstance(value, ast.Call) and name in ("set", "frozenset")
    ):
        return "a set, which the SDK cannot send", "Return a list: sorted(...)."
    if isinstance(value, ast.GeneratorExp):
        return (
            "a generator, which the SDK cannot send",
            "Return a list: write [...] in place of (...).",
        )
    if (
        name in _BYTES
        or (isinstance(value, ast.Constant) and isinstance(value.value, bytes))
        or _is_encoded_field(handler, value)
    ):
        return "bytes, which the SDK cannot send", "Return text."
    if isinstance(value, ast.Constant) and value.value is ...:
        return None
    if name in _NAN or _is_nan_text(value):
        return "which JSON cannot carry", "Return a number that means none, such as -1.0."
    if isinstance(value, ast.Call) and name in _NUMBERS and not handler.wrapped:
        return (
            "which the SDK cannot send",
            "Make it a plain value: float(...), int(...) or .tolist().",
        )
    return None


def _is_encoded_field(handler: Handler, value: ast.expr) -> bool:
    """Whether it is text of the event as bytes: `event.text.encode()`."""
    named = value.func if isinstance(value, ast.Call) else None
    if not isinstance(named, ast.Attribute) or named.attr != "encode":
        return False
    owner = named.value
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    event = handler.event.arg if handler.event else None
    return isinstance(owner, ast.Name) and owner.id == event


def _object(module: Module, handler: Handler, value: ast.expr) -> tuple[str, str] | None:
    """Why an object of a class of the module is no JSON: only dataclasses and dicts are."""
    if not isinstance(value, ast.Call):
        return None
    found = module.program.find(handler.source, value.func)
    node = found.node if isinstance(found, Definition) else None
    if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.bases:
        return "an object that the SDK cannot send", f"Make {node.name} a dataclass."
    return None


def _is_nan_text(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "float"
        and len(value.args) == 1
        and isinstance(value.args[0], ast.Constant)
        and str(value.args[0].value).lstrip("+-").lower() in ("nan", "inf", "infinity")
    )


@check(
    "CM248",
    "empty-on-failure",
    severity=Severity.WARNING,
    bad=(
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except Exception:\n        return []  #<\n"),
        bad("@function\ndef find(context, event: Query) -> str:\n    try:\n        return event.text.strip()\n    except:  # noqa: E722\n        print('no')\n        return ''  #<\n"),
        bad("@function\ndef find(context, event: Query) -> list[str]:\n    try:\n        return [event.text.strip()]\n    except Exception as error:\n        print(error)\n    return []  #<\n"),
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
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(handler, node):
                continue
            inside = [inner for line in node.body for inner in ast.walk(line)]
            if any(isinstance(inner, ast.Raise) for inner in inside):
                continue
            returns = [inner for inner in inside if isinstance(inner, ast.Return)]
            for inner in returns or _after(handler, node):
                if _is_empty(inner.value) or (not returns and isinstance(inner.value, ast.Name)):
                    message = f"{handler.node.name} answers every failure with an empty result"
                    fix = "Catch what you expect, and raise: the call then fails, and the log says why."
                    yield at(handler, inner, message, fix)


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
                    isinstance(n, ast.Name) and n.id == name and _is_store(n) for n in tried
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
