"""The types of events and results, as the SDK reads them and as Foundry gets them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.hint import Hint
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Handler
from foundry_cm.checks.registry import Bad, Files, check
from foundry_cm.checks.rules.handlers import STRICT
from foundry_cm.checks.shown import HEAD, bad, good
from foundry_cm.checks.source import Source

_FUTURE = "__future__.annotations"
_USE = "Use str, int, float, bool, lists of them, or a dataclass of such fields."
_INSTEAD = {
    "tuple": "a list, or a dataclass",
    "Tuple": "a list, or a dataclass",
    "NamedTuple": "a dataclass",
    "frozenset": "list[...]",
    "Sequence": "list[...]",
    "Collection": "list[...]",
    "Iterator": "list[...]",
    "Generator": "list[...]",
    "deque": "list[...]",
    "Mapping": "dict[str, ...]",
    "Literal": "str",
    "UUID": "str",
    "Path": "str",
    "Enum": "str",
    "timedelta": "a float of seconds",
    "time": "str",
    "float32": "float",
    "ndarray": "list[float]",
    "list": "a list that says of what, such as list[str]",
    "List": "a list that says of what, such as list[str]",
    "dict": "a dataclass, or a map that says of what, such as dict[str, float]",
    "Dict": "a dataclass, or a map that says of what, such as dict[str, float]",
    "Annotated": "the type alone",
}


@dataclass(frozen=True)
class Part:
    """A type inside an event (`incoming`) or a result, and what has it: `Query.text`."""

    handler: Handler
    hint: Hint
    owner: str
    incoming: bool


def parts(module: Module) -> Iterator[Part]:
    """All the types of all handlers, those inside records too."""
    for handler in module.program.handlers:
        name = handler.node.name
        if event := module.event_hint(handler):
            yield from _parts(handler, event, f"the event of {name}", True)
        if result := module.result_hint(handler):
            yield from _parts(handler, result, f"the result of {name}", False)


def _parts(handler: Handler, hint: Hint, owner: str, incoming: bool) -> Iterator[Part]:
    yield Part(handler, hint, owner, incoming)
    for item in hint.items:
        yield from _parts(handler, item, owner, incoming)
    for field in hint.fields:
        record = hint.record.name if hint.record else owner
        yield from _parts(handler, field.hint, f"{record}.{field.name}", incoming)


def _finding(part: Part, message: str, fix: str, severity: Severity | None = None) -> Finding:
    path, line = part.hint.place
    return Finding(message[0].upper() + message[1:], path, fix, line, severity)


def _field(kind: str, imports: str = "", more: str = "") -> str:
    """A handler whose event has a field of a type, which is found."""
    return f"{more}@dataclass\nclass Order:\n    code: {kind}  #<\n\n\n@function\ndef take(context, event: Order) -> str:\n    return ''\n"


def _bad(kind: str, imports: str = "", more: str = "", files: Files | None = None) -> Bad:
    return bad(_field(kind, more=more), imports=imports, files=files)


def _good(kind: str, imports: str = "", more: str = "", files: Files | None = None) -> Files:
    return good(_field(kind, more=more).replace("  #<", ""), imports=imports, files=files)


@check(
    "CM201",
    "text-annotations",
    bad=(
        bad(head="from __future__ import annotations  #<\n\n" + HEAD),
        bad("@function\ndef echo(context, event: 'Query') -> str:  #<\n    return event.text\n"),
        bad(
            "@function\ndef echo(context, event: Order) -> str:\n    return event.code\n",
            imports="from orders import Order\n",
            files={
                "src/orders.py": "from __future__ import annotations  #<\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Order:\n    code: str\n"
            },
        ),
    ),
    good=(
        good(),
        good("@function\ndef echo(context, event: Query) -> 'str':\n    return event.text\n"),
        good(
            "@function\ndef echo(context, event) -> str:\n    return event['text']\n",
            head="from __future__ import annotations\n\n" + HEAD,
        ),
        good(
            "@function\ndef echo(context, event: Order) -> str:\n    return event['code']\n",
            imports="from orders import Order\n",
            files={
                "src/orders.py": "from __future__ import annotations\n\nfrom typing import TypedDict\n\n\nclass Order(TypedDict):\n    code: str\n"
            },
        ),
    ),
)
def text_annotations(module: Module) -> Iterator[Finding]:
    """Annotations that are text: in quotes, or all of a file by `from __future__ import annotations`.

    The SDK resolves them without the names of the file. It raises a NameError while the file is
    imported, and the functions of that file are missing.
    """
    for source in _with_future(module):
        line = next(each.line for each in source.imports if each.target == _FUTURE)
        alone = source.lines[line - 1].split("#")[0].strip() == "from __future__ import annotations"
        blank = source.lines[line : line + 1] == [""] and not "".join(
            source.lines[line - 2 : line - 1]
        )
        end = line + 1 + blank
        edit = (Edit(source.path, line, end),) if alone and _needs_no_future(source) else ()
        yield Finding(
            "With this import the SDK cannot read the types of the file",
            source.path,
            "Delete the line, and write types in quotes only where no handler and no record needs them.",
            line,
            edit=edit,
        )
    for part in parts(module):
        if part.hint.kind == "text":
            message = f"{part.owner} is {part.hint.text}, a type in quotes: {part.hint.why}"
            yield _finding(part, message, "Write it without quotes, below what it names.")


def _with_future(module: Module) -> list[Source]:
    """The files with that import whose annotations the SDK reads."""
    read: dict[str, Source] = {}
    for part in parts(module):
        in_text = [n.id for n in ast.walk(part.hint.node) if isinstance(n, ast.Name)]
        if any(not hasattr(builtins, name) for name in in_text):
            read[part.hint.source.path] = part.hint.source
        if part.hint.record and part.hint.form in ("dataclass", "class"):
            read[part.hint.record.source.path] = part.hint.record.source
    return [source for source in read.values() if source.targets.get("annotations") == _FUTURE]


def _needs_no_future(source: Source) -> bool:
    """Whether each name in an annotation is there before the annotation is reached."""
    if "TYPE_CHECKING" in source.text:
        return False
    first = {name: node.lineno for name, node in source.top.items()}
    first |= {each.name: each.line for each in source.imports}
    given: list[ast.expr | None] = []
    for node in source.nodes:
        given += [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return all(
        hasattr(builtins, name.id) or first.get(name.id, annotation.lineno) < annotation.lineno
        for annotation in given
        if annotation is not None
        for name in ast.walk(annotation)
        if isinstance(name, ast.Name)
    )


@check(
    "CM221",
    "refused-type",
    bad=(
        _bad("dict"),
        _bad("tuple[int, int]"),
        _bad("int | str"),
        _bad("Literal['a', 'b']", imports="from typing import Literal\n"),
        _bad("Sequence[str]", imports="from collections.abc import Sequence\n"),
        bad("@dataclass(kw_only=True)\nclass Order:  #<\n    code: str\n\n\n@function\ndef take(context, event: Order) -> str:\n    return ''\n"),
        bad(
            "class Order(BaseModel):  #<\n    code: str\n\n\n@function\ndef take(context, event: Order) -> str:\n    return ''\n",
            imports="from pydantic import BaseModel\n",
        ),
    ),
    good=(_good("list[str]"), _good("dict[str, float]"), _good("str | None = None")),
)  # fmt: skip
def refused_type(module: Module) -> Iterator[Finding]:
    """A type at which the SDK raises while the file is imported.

    The traceback passes by in the log. The SDK's exit hook then starts the module all the same, with
    the functions that were registered before; it looks healthy and the others are missing.
    """
    for part in parts(module):
        hint = part.hint
        if hint.kind != "refused" or (part.owner.startswith("the event") and hint.record is None):
            continue
        if hint.record is not None:
            node = hint.record.node
            message = f"The SDK refuses the class {hint.record.name}: {hint.why}"
            fix = "Make it a dataclass with ordinary fields."
            yield Finding(message, hint.record.source.path, fix, node.lineno)
        else:
            message = f"{part.owner} is {hint.text}, at which the SDK raises: {hint.why}"
            yield _finding(part, message, _instead(hint))


@check(
    "CM222",
    "empty-type",
    bad=(
        _bad("Any", imports="from typing import Any\n"),
        _bad("list"),
        _bad("tuple"),
        _bad(
            "Colour",
            imports="from enum import Enum\n",
            more="class Colour(Enum):\n    RED = 1\n\n\n",
        ),
        _bad("np.ndarray", imports="import numpy as np\n"),
        bad("@function\ndef forget(context, event: Query) -> None:  #<\n    pass\n"),
    ),
    good=(_good("list[str]"), _good("list[list[float]]")),
)
def empty_type(module: Module) -> Iterator[Finding]:
    """A type that the SDK cannot read and registers as a record without fields.

    Nothing complains. Callers see an input or a result that can hold nothing.
    """
    for part in parts(module):
        hint = part.hint
        if hint.kind != "empty" or part.owner.startswith("the event"):
            continue
        severity = Severity.WARNING if hint.text == "None" else Severity.ERROR
        message = f"{part.owner} is {hint.text}, which Foundry sees as a record without fields"
        yield _finding(part, message, _instead(hint), severity)


@check(
    "CM223",
    "optional-unconverted",
    bad=(
        _bad("datetime | None = None", imports="from datetime import datetime\n"),
        _bad("Optional[Query] = None", imports="from typing import Optional\n"),
    ),
    good=(_good("str | None = None"), _good("list[str] | None = None")),
)
def optional_unconverted(module: Module) -> Iterator[Finding]:
    """An Optional in an event around something that must be converted.

    The SDK hands over what is inside an Optional as it stands in the JSON: a record arrives as a dict,
    a date as text, whatever the annotation says.
    """
    for part in parts(module):
        if part.incoming and part.hint.kind == "optional" and part.hint.items[0].converted:
            inner = part.hint.items[0]
            comes = "a dict" if inner.kind == "record" else "as it stands in the JSON"
            message = f"{part.owner} is {part.hint.text}: the SDK hands over {comes}, unconverted"
            fix = "Leave out the Optional, and send a value that means none, such as an empty text."
            yield _finding(part, message, fix)


def _returning(kind: str, value: str, **more: str) -> str:
    return f"@function\ndef give(context, event: Query) -> {kind}:  #<\n    return {value}\n"


@check(
    "CM224",
    "result-type",
    bad=(
        bad(_returning("set[str]", "{event.text}")),
        bad(_returning("bytes", "event.text.encode()")),
        bad(
            "@dataclass\nclass Price:\n    amount: Decimal  #<\n\n\n@function\ndef give(context, event: Query) -> Price:\n    return Price(Decimal(1))\n",
            imports="from decimal import Decimal\n",
        ),
        bad(
            "class Shelf:\n    number: int\n\n    def __init__(self, number: int):\n        self.number = number\n\n\n" + _returning("Shelf", "Shelf(7)")
        ),
    ),
    good=good(_returning("list[str]", "[event.text]").replace("  #<", "")),
)  # fmt: skip
def result_type(module: Module) -> Iterator[Finding]:
    """A result of a type that registers, and that the SDK cannot encode.

    Sets, bytes, Decimals and objects of ordinary classes end every call in "Circular reference
    detected".
    """
    for part in parts(module):
        if part.incoming:
            continue
        hint = part.hint
        instead = {
            "set": "Return a list.",
            "binary": "Return text, or a reference to where the bytes are.",
            "decimal": "Return a float, or text.",
        }.get(hint.kind)
        if hint.kind == "record" and hint.form == "class":
            instead = "Make it a dataclass."
        if instead:
            message = f"{part.owner} is {hint.text}, which the SDK cannot send"
            yield _finding(part, message, instead)


@check(
    "CM225",
    "not-a-field-guide-type",
    bad=(
        _bad("date", imports="from datetime import date\n", files=STRICT),
        _bad("dict[str, float]", files=STRICT),
        _bad("str | None", files=STRICT),
        _bad("str = ''", files=STRICT),
        _bad("set[str]", files=STRICT),
    ),
    good=(
        _good("list[str]", files=STRICT),
        _good("dict[str, float]"),
        _good("bytes", files=STRICT),
        _good("Query | None", files=STRICT),
        good(_returning("set[str]", "{event.text}").replace("  #<", ""), files=STRICT),
    ),
)
def not_strict(module: Module) -> Iterator[Finding]:
    """In the profile `strict`: a type that is none of `str`, `int`, `float`, `bool`, lists and records.

    SDK 0.34 converts dates, maps, defaults and an Optional of a plain value, so without a setting, or
    with `profile = "sdk"`, they are right. The strict profile keeps to what works with every version
    and every caller.
    """
    if not module.strict:
        return
    for part in parts(module):
        hint = part.hint
        taken = part.incoming and (
            hint.kind == "binary" or (hint.kind == "optional" and hint.items[0].converted)
        )
        sent = not part.incoming and hint.kind in ("set", "binary", "decimal")
        strict = hint.kind in ("string", "integer", "float", "boolean", "list", "record")
        if not (
            strict or taken or sent or hint.kind in ("refused", "empty", "text", "unknown", "edits")
        ):
            message = f'{part.owner} is {hint.text}, and the profile is "strict"'
            yield _finding(
                part, message, f'{_USE} Or set profile = "sdk" in [tool.foundry-cm.check].'
            )
        for field in hint.fields if part.incoming else ():
            if field.default is not None:
                message = f'{hint.text}.{field.name} has a default, and the profile is "strict"'
                fix = "Leave it out: every caller sends the field."
                yield Finding(message, field.hint.source.path, fix, field.default.lineno)


@check(
    "CM226",
    "bytes-in-the-event",
    bad=_bad("bytes"),
    good=_good("str"),
)
def bytes_in_the_event(module: Module) -> Iterator[Finding]:
    """Bytes in an event.

    The caller sends base64, and the SDK does not decode it: the handler gets the letters as bytes.
    """
    for part in parts(module):
        if part.incoming and part.hint.kind == "binary":
            message = f"{part.owner} is bytes: the SDK hands over the letters of the base64"
            fix = "Send a reference, such as a media item, or take str and decode it yourself."
            yield _finding(part, message, fix)


def _instead(hint: Hint) -> str:
    if hint.text == "None":
        return "Return something, such as a text or a bool."
    if "one type" in hint.why:
        return "Use one of them, or a dataclass with a field for each."
    words = hint.why.split() + hint.text.replace("[", " ").replace(".", " ").split()
    known = next((_INSTEAD[word] for word in words if word in _INSTEAD), None)
    return f"Use {known}." if known else _USE
