"""Values that a handler returns and that do not reach the caller."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from foundry_cm.checks import arrays
from foundry_cm.checks.circles import circles
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Definition, Handler
from foundry_cm.checks.registry import check
from foundry_cm.checks.rules.handlers import at
from foundry_cm.checks.shown import bad, good
from foundry_cm.checks.source import own_nodes

_NUMPY = "import numpy as np\n"
_NAN = {"math.nan", "math.inf", "numpy.nan", "numpy.inf", "numpy.NaN", "numpy.Inf"}
_BYTES = {"bytes", "base64.b64encode", "base64.urlsafe_b64encode", "pickle.dumps", "zlib.compress"}
# What Python makes of other things, and JSON has no place for.
_OBJECTS = {
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "uuid.uuid1", "uuid.uuid4", "pathlib.Path",
    "pathlib.PurePath", "datetime.timedelta", "datetime.time", "collections.deque", "complex",
    "ipaddress.ip_address", "types.SimpleNamespace",
}  # fmt: skip
_LAZY = {"map", "filter", "zip", "reversed", "enumerate", "range", "iter"}
_DICTS = {
    "dict",
    "dict.fromkeys",
    "collections.Counter",
    "collections.defaultdict",
    "collections.OrderedDict",
}
_LISTS = ("list", "sorted", "tuple")
_PLAIN = {"staticmethod", "classmethod", "functools.cache", "functools.lru_cache"}
_DEEPEST = 3


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
        bad(_returning("scores.mean()").replace("return scores", "scores = np.zeros(3, dtype=np.float32)\n    return scores"), imports=_NUMPY),
        bad("@function\ndef give(context, event: Query) -> list[float]:\n    found = []\n    for number, score in enumerate(np.zeros(3, dtype='float32')):\n        found.append(score)  #<\n    return found\n", imports=_NUMPY),
        bad(_returning("{str(n): s for n, s in enumerate(np.ones(3, dtype=np.int32))}", "dict[str, int]"), imports=_NUMPY),
        bad(_returning("torch.tensor([1.0]).mean()"), imports="import torch\n"),
        bad(_returning("round(np.float32(len(event.text)), 2)"), imports=_NUMPY),
        bad(_returning("np.argmax(np.array([1.0]))", "int"), imports=_NUMPY),
        bad(_returning("list(MODEL.encode(event.text))", "list[float]"), imports="from sentence_transformers import SentenceTransformer\n\nMODEL = SentenceTransformer('m')\n"),
        bad(_returning("words(event.text)", "list[str]").replace("@function", "def words(text: str) -> set[str]:\n    return {word for word in text.split()}\n\n\n@function")),
        bad(_returning("words(event.text)", "list[str]").replace("@function", "def words(text: str):\n    yield from text.split()\n\n\n@function")),
        bad(_returning("map(str.upper, event.text)", "list[str]")),
        bad(_returning("{'a': 1}.keys()", "list[str]")),
        bad(_returning("Decimal(event.text)"), imports="from decimal import Decimal\n"),
        bad(_returning("Path('/tmp') / event.text", "str"), imports="from pathlib import Path\n"),
        bad(_returning("Result(np.float32(0.5))", "Result").replace("@function", "@dataclass\nclass Result:\n    score: float\n\n\n@function", 1), imports=_NUMPY),
    ),
    good=(
        good(_returning("float(np.float32(0.5))").replace("  #<", ""), imports=_NUMPY),
        good(_returning("np.array([1.0]).tolist()", "list[float]").replace("  #<", ""), imports=_NUMPY),
        good(_returning("np.zeros(3).mean()").replace("  #<", ""), imports=_NUMPY),
        good(_returning("np.zeros(3, dtype=np.float32).mean().item()").replace("  #<", ""), imports=_NUMPY),
        good(_returning("torch.softmax(event.text, 0).max().item()").replace("  #<", ""), imports="import torch\n"),
        good("@function\ndef give(context, event: Query) -> list[float]:\n    found = []\n    for number, score in enumerate(np.zeros(3, dtype='float32')):\n        found.append(float(score) + number)\n    return found\n", imports=_NUMPY),
        good(_returning("list(words(event.text))", "list[str]").replace("  #<", "").replace("@function", "def words(text: str):\n    yield from text.split()\n\n\n@function")),
        good(_returning("str(Path('/tmp') / event.text)", "str").replace("  #<", ""), imports="from pathlib import Path\n"),
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
                for scope, value, place in _values(module, handler, node.value, node.value):
                    found = _unfit(module, scope, value) or _object(module, scope, value)
                    if found:
                        message = f"{handler.node.name} returns {ast.unparse(value)}, {found[0]}"
                        yield at(handler, place, message, found[1])
        for node, held in circles(handler.node):
            message = f"{handler.node.name} returns {held}, which holds itself from here on"
            yield at(handler, node, message, "Leave the way back out, or send an id in its place.")


def _values(
    module: Module, handler: Handler, value: ast.expr, place: ast.expr, depth: int = 0
) -> Iterator[tuple[Handler, ast.expr, ast.expr]]:
    """A returned value and what it is made of, each with its function and the place where it is returned.

    It is made of items, values of a dict, fields of a record; a name is what it is bound to, where
    that is one thing, and a call of the module's is what the function returns.
    """
    yield handler, value, place
    inner: list[ast.expr] = []
    if isinstance(value, ast.Name):
        bound = _bound(handler, value.id)
        if bound is not None:
            yield from _values(module, handler, bound, place, depth)
        for added in _appended(handler, value.id) if isinstance(bound, ast.List) else ():
            yield from _values(module, handler, added, place if depth else added, depth)
    elif isinstance(value, ast.List | ast.Tuple):
        inner = value.elts
    elif isinstance(value, ast.Dict):
        inner = value.values
    elif isinstance(value, ast.ListComp | ast.DictComp):
        inner = [value.elt if isinstance(value, ast.ListComp) else value.value]
    elif isinstance(value, ast.IfExp):
        inner = [value.body, value.orelse]
    elif isinstance(value, ast.Call) and _is_record(module, handler, value):
        inner = [*value.args, *(key.value for key in value.keywords)]
    elif (
        isinstance(value, ast.Call)
        and depth < _DEEPEST
        and (helper := _helper(module, handler, value))
    ):
        for node in own_nodes(helper.node):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from _values(module, helper, node.value, place, depth + 1)
    for each in inner:
        yield from _values(module, handler, each, each if place is value else place, depth)


def _appended(handler: Handler, name: str) -> Iterator[ast.expr]:
    """What a function appends to a list."""
    for node in own_nodes(handler.node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr == "append" and isinstance(owner, ast.Name) and owner.id == name:
                yield from node.args


def _helper(module: Module, handler: Handler, call: ast.Call) -> Handler | None:
    """The function of the module's that a call runs, whose results are those of the call."""
    definition, method = module.program.called(handler.source, call, handler.node) or (None, False)
    node = definition.node if definition else None
    if definition is None or not isinstance(node, ast.FunctionDef) or _is_generator(node):
        return None
    if any(module.program.dotted(definition.source, d) not in _PLAIN for d in node.decorator_list):
        return None
    return replace(handler, source=definition.source, node=node, method=method, helper=True)


def _is_generator(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in own_nodes(node))


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


def _unfit(module: Module, handler: Handler, value: ast.expr) -> tuple[str, str] | None:
    """Why a value is no JSON, and what to return in its place."""
    called = value.func if isinstance(value, ast.Call) else None
    name = module.program.dotted(handler.source, called or value)
    if isinstance(value, ast.Set | ast.SetComp) or (called and name in ("set", "frozenset")):
        return "a set, which the SDK cannot send", "Return a list: sorted(...)."
    if isinstance(value, ast.GeneratorExp) or (called and _makes_generator(module, handler, value)):
        return (
            "a generator, which the SDK cannot send",
            "Return a list: write [...] in place of (...), or list(...) around it.",
        )
    if called and (name in _LAZY or _is_view(handler, called)):
        return "which is no list, and which the SDK cannot send", "Return list(...) of it."
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
    if (called and name in _OBJECTS) or _is_path(module, handler, value):
        return (
            "an object that the SDK cannot send",
            "Make text or a number of it: str(...), float(...).",
        )
    return None if handler.wrapped else _of_numpy(module, handler, value)


def _of_numpy(module: Module, handler: Handler, value: ast.expr) -> tuple[str, str] | None:
    # A name is what it is bound to, which is looked at by itself.
    if isinstance(value, ast.Name) and _bound(handler, value.id) is not None:
        return None
    scope = arrays.Scope(module.program, handler.source, handler.node)
    found = scope.value(value)
    called = value.func if isinstance(value, ast.Call) and len(value.args) == 1 else None
    if isinstance(value, ast.Call) and module.program.dotted(handler.source, called) in _LISTS:
        found = scope.item(value.args[0])
    if found is None or found.is_json:
        return None
    fix = "Make it a plain value: float(...), int(...) or .tolist()."
    if found.shape == "table":
        fix = 'Return its rows: .to_dict("records").'
    return f"{found}, which the SDK cannot send", fix


def _makes_generator(module: Module, handler: Handler, call: ast.expr) -> bool:
    if not isinstance(call, ast.Call):
        return False
    found = module.program.called(handler.source, call, handler.node)
    node = found[0].node if found else None
    return isinstance(node, ast.FunctionDef) and not node.decorator_list and _is_generator(node)


def _is_view(handler: Handler, called: ast.expr) -> bool:
    """Whether it is `.keys()`, `.values()` or `.items()` of what is a dict for certain."""
    if not isinstance(called, ast.Attribute) or called.attr not in ("keys", "values", "items"):
        return False
    owner: ast.expr | None = called.value
    if isinstance(owner, ast.Name):
        owner = _bound(handler, owner.id)
    if isinstance(owner, ast.Call):
        return handler.source.resolve(owner.func) in _DICTS
    return isinstance(owner, ast.Dict | ast.DictComp)


def _is_path(module: Module, handler: Handler, value: ast.expr) -> bool:
    """Whether it is a path made with `/`."""
    while isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div):
        value = value.left
        if isinstance(value, ast.Call):
            return module.program.dotted(handler.source, value.func) == "pathlib.Path"
    return False


def _is_encoded_field(handler: Handler, value: ast.expr) -> bool:
    """Whether it is text of the event as bytes: `event.text.encode()`."""
    named = value.func if isinstance(value, ast.Call) else None
    if not isinstance(named, ast.Attribute) or named.attr != "encode" or handler.helper:
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
