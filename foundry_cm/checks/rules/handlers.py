"""Handlers as the SDK calls them: their signature, and what they say of their event and result."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Handler
from foundry_cm.checks.registry import check
from foundry_cm.checks.shown import ECHO, bad, good
from foundry_cm.checks.source import own_nodes

STRICT = {"pyproject.toml": '[tool.foundry-cm.check]\nprofile = "strict"\n'}
_CONTEXT = {"compute_modules.context.QueryContext", "compute_modules.context.types.QueryContext"}
_EVENT_NAMES = {"event", "payload", "query", "request", "data", "input"}
# Calls whose result is JSON.
_ENCODES = {"asdict", "_asdict", "dict", "model_dump", "vars", "isoformat", "str"}
_ADD = "from compute_modules import add_function, add_functions\n"
_ASYNC = "async def echo(context, event: Query) -> str:  #<\n    return event.text\n"
_METHOD = "    async def echo(self, context, event: Query) -> str:  #<\n        return event.text\n"
_TWO = "Write def {name}(context, event: YourRecord) -> YourResult."


def by_profile(module: Module) -> Severity:
    """An error in the strict profile, else a warning."""
    return Severity.ERROR if module.strict else Severity.WARNING


def at(
    handler: Handler, node: ast.AST, message: str, fix: str, severity: Severity | None = None
) -> Finding:
    """A finding in the file of a handler."""
    line = getattr(node, "lineno", handler.node.lineno)
    return Finding(message, handler.source.path, fix, line, severity)


@check(
    "CM202",
    "handler-signature",
    bad=(
        bad("@function\ndef echo(event: Query) -> str:  #<\n    return event.text\n"),
        bad(
            "@function\ndef echo(context, event: Query, limit: int) -> str:  #<\n    return event.text\n"
        ),
        bad("@function\ndef echo(event: Query, context) -> str:  #<\n    return event.text\n"),
        bad(
            "@function\ndef echo(context, event: Query, *, limit: int) -> str:  #<\n    return event.text\n"
        ),
        bad(
            "@function\ndef echo(context, event: Query = None) -> str:  #<\n    return event.text\n"
        ),
        bad("@function\ndef echo(*args) -> str:  #<\n    return args[1]\n"),
        bad(
            "@function\ndef echo(context, event: Query, limit: int = 5) -> str:  #<\n    return event.text\n"
        ),
    ),
    good=(good(), good(ECHO.replace("context", "_"))),
)
def signature(module: Module) -> Iterator[Finding]:
    """A handler that does not take two arguments, the context and the event.

    The SDK calls every handler as `handler(context, event)`, by position. With another signature each
    call ends in a TypeError, or gets one for the other. A default is never used, and `*args` keeps the
    SDK from reading the type of the event.
    """
    for handler in module.program.handlers:
        if found := _signature(handler):
            message, severity = found
            fix = _TWO.format(name=handler.node.name)
            yield at(handler, handler.node, f"{handler.node.name} {message}", fix, severity)


def _signature(handler: Handler) -> tuple[str, Severity] | None:
    given, names = handler.node.args, [arg.arg for arg in handler.parameters]
    needed = len(names) - len(given.defaults)
    only = [a.arg for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is None]
    if only:
        return (
            f"needs {only[0]} by keyword, and the SDK gives two arguments by position",
            Severity.ERROR,
        )
    if needed > 2:
        return f"takes {needed} arguments, and the SDK gives two", Severity.ERROR
    if len(names) < 2 and not given.vararg:
        one = "no argument" if not names else "one argument"
        return f"takes {one}, and the SDK gives two", Severity.ERROR
    if len(names) == 2 and names[0] in _EVENT_NAMES and names[1] in ("context", "ctx"):
        return "takes the event first, and the SDK gives the context first", Severity.ERROR
    if len(names) < 2:
        return (
            f"takes *{given.vararg.arg if given.vararg else ''}: no inputs are declared",
            Severity.WARNING,
        )
    if len(names) > 2:
        return f"has a third argument, {names[2]}, that the SDK never gives", Severity.WARNING
    if given.defaults:
        return (
            "has a default that is never used: the SDK always gives both arguments",
            Severity.WARNING,
        )
    return None


@check(
    "CM203",
    "async-handler",
    bad=(
        bad("@function\n" + _ASYNC),
        # The decorator has other names, and functions are given to the SDK in other ways.
        bad("register = function\n\n\n@register\n" + _ASYNC),
        bad("stream = partial(function, streaming=True)\n\n\n@stream\n" + _ASYNC, imports="from functools import partial\n"),
        bad("def exposed(**options):\n    return function(**options)\n\n\n@exposed(edits=[])\n" + _ASYNC),
        bad(_ASYNC + "\n\necho = function(echo)\n"),
        bad("@fn\n" + _ASYNC, imports="from kit import *\n", files={"src/kit.py": "from compute_modules.annotations import *\n\nfn = function\n"}),
        bad(_ASYNC + "\n\nTABLE = {'echo': echo}\nfor name, one in TABLE.items():\n    add_function(one)\n", imports=_ADD),
        bad(_ASYNC + "\n\nTABLE = {'echo': echo}\nadd_functions(*TABLE.values())\n", imports=_ADD),
        bad(f"class Base:\n{_METHOD}\n\nclass Shop(Base):\n    def __init__(self):\n        add_function(self.echo)\n\n\nShop()\n", imports=_ADD),
    ),
    good=(
        good(),
        good("def register(call):\n    return call\n\n\n@register\n" + _ASYNC.replace("  #<", "")),
        good(_ASYNC.replace("  #<", "") + "\n\nprint(echo)\n"),
    ),
)  # fmt: skip
def asynchronous(module: Module) -> Iterator[Finding]:
    """A handler that is `async def`.

    The SDK does not await it. It registers, and each call ends in "Circular reference detected",
    because the result is a coroutine.
    """
    for handler in module.program.handlers:
        if isinstance(handler.node, ast.AsyncFunctionDef):
            yield at(
                handler,
                handler.node,
                f"{handler.node.name} is async, and the SDK does not await it",
                "Write def, and run what is asynchronous inside it with asyncio.run().",
            )


@check(
    "CM204",
    "untyped-handler",
    severity=Severity.WARNING,
    bad=(
        bad("@function\ndef echo(context, event) -> str:  #<\n    return event['text']\n"),
        bad(
            "@function\ndef echo(context, event: Query):  #<\n    return event.text\n", files=STRICT
        ),
    ),
    good=good(),
)
def untyped(module: Module) -> Iterator[Finding]:
    """A handler without a type for its event or its result.

    It works when it is called, but Foundry learns nothing of it: without a type for the event the
    function declares no inputs, and without one for the result it declares text. It is an error in the
    profile `strict`, a warning otherwise.
    """
    for handler in module.program.handlers:
        name, returns = handler.node.name, handler.node.returns
        event = handler.event
        if event is not None and event.annotation is None:
            both = "" if returns else ", and no result but text"
            message = f"{name} has no type for its event: it declares no inputs{both}"
            fix = "Annotate the event with a dataclass, and say what the function returns."
        elif event is not None and returns is None:
            message = f"{name} does not say what it returns: it declares text"
            fix = "Annotate the result, such as -> str or -> list[YourRecord]."
        else:
            continue
        yield at(handler, handler.node, message, fix, by_profile(module))


@check(
    "CM205",
    "event-type",
    bad=(
        bad("@function\ndef echo(context, event: str) -> str:  #<\n    return event\n"),
        bad("@function\ndef echo(context, event: dict) -> str:  #<\n    return ''\n"),
        bad(
            "@function\ndef echo(\n    context,\n    event: list[Query],  #<\n) -> str:\n    return ''\n"
        ),
        bad("@function\ndef echo(context, event: Query | None) -> str:  #<\n    return ''\n"),
        bad(
            "class Colour(Enum):\n    RED = 1\n\n\n@function\ndef echo(context, event: Colour) -> str:  #<\n    return ''\n",
            imports="from enum import Enum\n",
        ),
    ),
    good=(
        good(),
        good("@function\ndef echo(context, event) -> str:\n    return event['text']\n"),
        good(ECHO.replace("Query", "Order"), imports="from acme.records import Order\n"),
        good(
            "class Order(BaseModel):\n    text: str\n\n\n" + ECHO.replace("Query", "Order"),
            imports="from pydantic import BaseModel\n",
        ),
    ),
)
def event_type(module: Module) -> Iterator[Finding]:
    """An event whose type is not a record.

    The SDK wants a dataclass or a TypedDict, whose fields become the inputs of the function. With a
    list, a map with types or an Optional it raises; with `str`, `int` or `dict` it registers the
    function without inputs, and the handler gets an empty value.
    """
    for handler in module.program.handlers:
        hint = module.event_hint(handler)
        if hint is None or hint.kind in ("record", "unknown", "text"):
            continue
        # A class of the module's own that the SDK refuses is told where its fields are.
        if hint.record is not None and (
            hint.kind == "refused" or not hint.why.startswith("an Enum")
        ):
            continue
        fix = "Make it a dataclass with a field for each input."
        message = f"The event of {handler.node.name} is {hint.text}, which is not a record"
        yield at(handler, hint.node, message, fix)


@check(
    "CM206",
    "context-type",
    bad=(
        bad(
            "@function\ndef echo(context: dict, event: Query) -> str:  #<\n    return event.text\n"
        ),
        bad(
            "@function\ndef echo(ctx: QueryContext, event: Query) -> str:  #<\n    return event.text\n",
            imports="from compute_modules.context import QueryContext\n",
        ),
    ),
    good=(
        good(
            "@function\ndef echo(context: QueryContext, event: Query) -> str:\n    return event.text\n",
            imports="from compute_modules.context import QueryContext\n",
        ),
        good(ECHO),
        good("@function\ndef echo(event: Query) -> str:\n    return event.text\n"),
    ),
)
def context_type(module: Module) -> Iterator[Finding]:
    """A context with another type than the SDK's `QueryContext`, or a typed one with another name.

    The SDK raises at any other type of `context`. An annotated first argument that is not called
    `context` is taken for the event.
    """
    for handler in module.program.handlers:
        first = handler.parameters[0] if len(handler.parameters) > 1 else None
        if first is None or first.annotation is None:
            continue
        known = module.program.dotted(handler.source, first.annotation) in _CONTEXT
        if first.arg != "context":
            message = (
                f"The SDK takes {first.arg} for the event: only the name context is the context's"
            )
            yield at(handler, first, message, "Call it context, or leave out its type.")
        elif not known:
            message = f"context is {ast.unparse(first.annotation)}, and the SDK raises at all but QueryContext"
            fix = "Use QueryContext from compute_modules.context, or leave out the type."
            yield at(handler, first, message, fix)


@check(
    "CM211",
    "generator-without-streaming",
    bad=bad(
        "@function\ndef letters(context, event: Query) -> list[str]:\n    for letter in event.text:\n        yield letter  #<\n"
    ),
    good=good(
        "@function(streaming=True)\ndef letters(context, event: Query) -> list[str]:\n    for letter in event.text:\n        yield letter\n"
    ),
)
def generator(module: Module) -> Iterator[Finding]:
    """A handler that yields and is not registered with `streaming=True`.

    Its result is a generator, which is no JSON: each call ends in "Circular reference detected".
    """
    for handler in module.program.handlers:
        if handler.streaming:
            continue
        inside = own_nodes(handler.node)
        if found := next(
            (each for each in inside if isinstance(each, ast.Yield | ast.YieldFrom)), None
        ):
            message = f"{handler.node.name} yields, and it is not registered as streaming"
            fix = "Write @function(streaming=True), or collect the items and return a list."
            yield at(handler, found, message, fix)


@check(
    "CM212",
    "stream-items",
    bad=(
        bad(
            "@function(streaming=True)\ndef count(context, event: Query) -> list[int]:  #<\n    yield from range(3)\n"
        ),
        bad(
            "@function(streaming=True)\ndef each(context, event: Query) -> list[Query]:  #<\n    yield event\n"
        ),
    ),
    good=(
        good(
            "@function(streaming=True)\ndef each(context, event: Query) -> list[str]:\n    yield event.text\n"
        ),
        good("@function(streaming=True)\ndef each(context, event: Query):\n    yield 1\n"),
        good("@function(streaming=True)\ndef each(context, event: Query) -> int:\n    yield 1\n"),
        good(
            "@function(streaming=True)\ndef each(context, event: Query) -> list[Query]:\n    yield vars(event)\n"
            "    yield from (dataclasses.asdict(one) for one in [event])\n",
            imports="import dataclasses\n",
        ),
    ),
)
def stream_items(module: Module) -> Iterator[Finding]:
    """A stream of items that cannot be told apart, or that the SDK cannot encode.

    The SDK writes the items one after the other with nothing between them, so numbers run together.
    It encodes them without what it does for other results: a dataclass or a date fails.
    """
    for handler in module.program.handlers:
        hint = module.result_hint(handler) if handler.streaming else None
        if hint is None or hint.kind != "list":
            continue
        item = hint.items[0]
        encoded = handler.wrapped or _yields_encoded(handler.node)
        if item.kind in ("boolean", "byte", "short", "integer", "long", "float", "double"):
            message = (
                f"The items of {handler.node.name} are bare: {item.text} and the next run together"
            )
            yield at(handler, hint.node, message, "Stream text or records.")
        elif not encoded and item.kind in ("date", "timestamp"):
            message = f"The SDK cannot encode {item.text} in a stream"
            yield at(handler, hint.node, message, "Stream it as text, with isoformat().")
        elif not encoded and item.kind == "record" and item.form != "typeddict":
            message = f"The SDK cannot encode {item.text}, a class, in a stream"
            yield at(handler, hint.node, message, "Stream dicts, such as dataclasses.asdict(item).")


def _yields_encoded(node: ast.AST) -> bool:
    """Whether all that a generator yields is JSON already: dicts and texts, whatever its type says."""
    yielded = [each for each in own_nodes(node) if isinstance(each, ast.Yield | ast.YieldFrom)]
    return bool(yielded) and all(_is_encoded(each.value) for each in yielded)


def _is_encoded(value: ast.expr | None) -> bool:
    if isinstance(value, ast.GeneratorExp | ast.ListComp):
        return _is_encoded(value.elt)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in _ENCODES
    return isinstance(value, ast.Dict | ast.DictComp)
