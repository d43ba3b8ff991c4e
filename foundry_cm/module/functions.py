"""A function of a module, from the schema that the SDK posts: checks of events and results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module import datatypes, envelopes, tracebacks
from foundry_cm.module.depth import DEEPEST, is_too_deep


@dataclass
class Function:
    """One function as the module declared it; `schema` is the element the SDK posted, untouched."""

    schema: dict[str, Any]
    name: str = field(init=False)
    event_schema: dict[str, Any] = field(init=False)
    output: datatypes.DataType = field(init=False)
    _event_checker: Draft202012Validator = field(init=False, repr=False)
    _result_checker: Draft202012Validator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises `CmError` where the posted schema is not of the documented shape."""
        try:
            self.name = str(self.schema["functionName"])
            inputs = self.inputs
            self.event_schema = datatypes.record_schema(
                {item["name"]: datatypes.json_schema(item["dataType"]) for item in inputs},
                [item["name"] for item in inputs if item.get("required", True)],
            )
            self.output = self.schema["output"]["single"]["dataType"]
            self._result_checker = datatypes.validator(datatypes.json_schema(self.output))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise CmError(
                f"The module posted a schema that Foundry cannot read: {why}, in "
                f"{json.dumps(self.schema)[:300]}",
                fix="Post functionName, inputs and output as the official SDK does.",
                code="InvalidSchema",
            ) from None
        self._event_checker = datatypes.validator(self.event_schema)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The declared inputs; some clients leave the list out where there are none."""
        return self.schema.get("inputs") or []

    @property
    def is_untyped(self) -> bool:
        """Whether it declares nothing of its types: what the SDK posts of a handler without annotations."""
        return not self.inputs and self.is_text

    @property
    def is_text(self) -> bool:
        """Whether the declared output is a text."""
        return self.output.get("type") == "string"

    def check_event(self, event: Any) -> None:
        """Raise `CmError` (`InvalidEvent`) where Foundry would refuse the event, naming the field.

        Where no inputs are declared, the handler gets the event as it is.
        """
        found = datatypes.problem(self._event_checker, event, "event") if self.inputs else None
        if found:
            what, fix = found
            raise CmError(
                f"{self.name} refused the event: {what}",
                fix=fix or f"A valid event: cm event {self.name}",
                code="InvalidEvent",
                exit_code=USAGE,
            )

    def result_problem(self, value: Any) -> tuple[str, str | None] | None:
        """What keeps a value from being the declared output, or None."""
        if self.is_untyped:
            return None
        return datatypes.problem(self._result_checker, value, "result")

    def sample_event(self, *, edge: bool = False) -> dict[str, Any]:
        """A valid event; with `edge`, extreme values and no field that may be left out."""
        return {
            item["name"]: datatypes.sample(item["dataType"], edge=edge)
            for item in self.inputs
            if item.get("required", True) or not edge
        }

    @property
    def is_list(self) -> bool:
        """Whether the declared output is a list, which a streaming function also declares."""
        return self.output.get("type") == "list"

    def signature(self) -> str:
        """The function in one line, such as `search(query: string, limit: integer) -> list[record]`."""
        inputs = ", ".join(f"{i['name']}: {_short(i['dataType'])}" for i in self.inputs)
        return f"{self.name}({inputs}) -> {_short(self.output)}"

    def warnings(self) -> list[str]:
        """What the SDK accepts without complaint and then does otherwise than its author thinks.

        Each is measured with SDK 0.34 and described in docs/parity.md.
        """
        found = []
        if not self.inputs:
            found.append("it declares no inputs: annotate the event with a dataclass of your own")
        for item in self.inputs:
            found += _type_warnings(item["dataType"], f"event.{item['name']}", incoming=True)
        found += _type_warnings(self.output, "result", incoming=False)
        return [f"{self.name}: {text}" for text in found]


def _short(data_type: datatypes.DataType) -> str:
    kind = str(data_type.get("type", "unknown"))
    if kind == "anonymousCustomType":
        return "record"
    if kind == "optionalType":
        return f"{_short(data_type['optionalType']['wrappedType'])} or null"
    if kind in ("list", "set"):
        return f"{kind}[{_short(datatypes.items_of(data_type))}]"
    return kind


# What the SDK makes of JSON's own values, but not inside an Optional.
_CONVERTED = {"timestamp", "date", "record", "decimal", "binary", "set"}


def _type_warnings(data_type: datatypes.DataType, path: str, *, incoming: bool) -> list[str]:
    found = []
    places = list(datatypes.flatten(data_type, path))
    for place, kind in places:
        inner = {each for other, each in places if other.startswith(f"{place}?")}
        if kind == "optionalType" and incoming and inner & _CONVERTED:
            found.append(f"{place} is Optional: what is inside reaches the handler unconverted")
        if kind in ("set", "binary", "decimal") and not incoming:
            found.append(f"{place} is declared as {kind}: the SDK cannot send such a result")
    found += [
        f"{place} has no fields: the SDK could not read its type"
        for place in _empty(data_type, path)
    ]
    return found


def _empty(data_type: datatypes.DataType, path: str) -> list[str]:
    places = list(datatypes.flatten(data_type, path))
    return [
        place
        for place, kind in places
        if kind == "record" and not any(other.startswith(place + ".") for other, _ in places)
    ]


def read_result(function: Function | None, body: bytes, chunks: int) -> Any:
    """The value in a posted result; `function` is None where nothing is declared of it.

    The Python SDK streams a result as JSON documents with nothing between them, the TypeScript SDK as
    the bare text. A streamed result came in `chunks`, one for each item; any other has 0. Raises
    `CmError` where the result is a failure, is not JSON, or does not match the declared output.
    """
    streamed = chunks > 0
    text = _decoded(body)
    try:
        documents = _documents(text)
    except CmError:
        if streamed and (function is None or function.is_text):
            return text
        raise
    if not documents and not streamed:
        raise CmError("The result is empty, not JSON", code="InvalidResult", fix="Return a value.")
    if documents and (failure := envelopes.failure(documents[-1], _accepts(function, streamed))):
        raise _handler_failure(failure)
    if streamed:
        return _stream(function, documents, text, chunks)
    value = documents[0] if len(documents) == 1 else documents
    if function and (found := function.result_problem(value)):
        raise _mismatch(function, found)
    return value


def read_items(function: Function | None, body: bytes) -> list[Any] | None:
    """The items in a piece of a streamed result; None where the piece ends within one.

    A failure is no item, nor is a bare number: `read_result` says of the whole what is wrong with it.
    """
    is_text = function is None or function.is_text
    try:
        text = body.decode("utf-8")
        documents = _documents(text)
    except UnicodeDecodeError:
        return None
    except CmError:
        return [text] if is_text else None
    accepts = _accepts(function, streamed=True)
    if any(envelopes.failure(each, accepts) for each in documents):
        return []
    if any(isinstance(each, int | float) and not isinstance(each, bool) for each in documents):
        return [text] if is_text else []
    return documents


def _accepts(function: Function | None, streamed: bool) -> Callable[[Any], bool]:
    """Whether a value may be a result: the whole one, or an item of a stream."""
    if function is None:
        return lambda _value: False

    def fits(value: Any) -> bool:
        one_of_them = streamed and function.is_list and not function.result_problem([value])
        return one_of_them or not function.result_problem(value)

    return fits


def _stream(function: Function | None, documents: list[Any], text: str, chunks: int) -> Any:
    """The value of a streamed result: the items, or the text that they make up together."""
    undeclared = function is None or function.is_untyped
    if function and function.is_text and not undeclared:
        pieces = all(isinstance(item, str) for item in documents)
        return "".join(documents) if pieces else text
    if chunks > len(documents) > 0 and any(isinstance(item, int | float) for item in documents):
        if undeclared:
            return text
        raise CmError(
            f"The {chunks} streamed items run together: as {text[:40].encode()!r} nobody can tell "
            "them apart",
            fix="Stream text or records, not bare numbers.",
            code="InvalidResult",
        )
    whole = documents[0] if len(documents) == 1 else documents
    if function is None or not (found := function.result_problem(whole)):
        return whole
    # A stream declares the list of its items, or (in TypeScript) one of them.
    if not function.result_problem(documents):
        return documents
    if len(documents) != 1 and not any(map(function.result_problem, documents)):
        return documents
    raise _mismatch(function, found)


def _mismatch(function: Function, found: tuple[str, str | None]) -> CmError:
    what, fix = found
    advice = f"Return what the handler's return annotation says: {_short(function.output)}."
    if function.is_text:
        advice += " Without an annotation the SDK declares text."
    return CmError(
        f"{function.name} gave a result that does not match its declared output: {what}",
        fix=fix or advice,
        code="InvalidResult",
    )


def _handler_failure(text: str) -> CmError:
    failure = tracebacks.read(text)
    hint = None
    if "Circular reference detected" in text or "not JSON serializable" in text:
        hint = "A NumPy value, set, bytes or Decimal is in the result: return plain Python values."
    elif (failure.raised_in or "").endswith("function_payload_converter.py"):
        hint = (
            "The SDK cannot make the event that the handler declares: annotate it with a dataclass."
        )
    return CmError(
        failure.summary,
        where=failure.where,
        fix=hint,
        code="HandlerFailed",
        details=failure.trimmed,
    )


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise CmError(
            f"The result is {len(body)} bytes that are not JSON", code="InvalidResult"
        ) from None


def _documents(text: str) -> list[Any]:
    """The JSON documents in a text, which may stand one after the other with nothing between."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    documents: list[Any] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        try:
            document, position = decoder.raw_decode(text, position)
        except RecursionError:
            raise _too_deep() from None
        except json.JSONDecodeError as error:
            raise CmError(
                f"The result is not JSON: {error.msg} at character {error.pos} of "
                f'"{text[max(0, error.pos - 20) : error.pos + 20]}"',
                code="InvalidResult",
            ) from None
        documents.append(document)
    # Few brackets are no deep nesting, and to count them costs little.
    if text.count("[") + text.count("{") > DEEPEST and any(map(is_too_deep, documents)):
        raise _too_deep()
    return documents


def _too_deep() -> CmError:
    return CmError(
        f"The result is nested more than {DEEPEST} deep",
        fix="Return flatter lists and records.",
        code="InvalidResult",
    )


def _refuse_constant(name: str) -> float:
    raise CmError(
        f"The result holds {name}, which is not JSON",
        fix="Return another number, such as -1.0, where there is no value"
        if math.isnan(float(name))
        else "Return a finite number",
        code="InvalidResult",
    )


def half_pair(value: Any, at: str = "event") -> str:
    """Where a JSON value has half of a surrogate pair, as `event.lines[2].text`; empty where nowhere.

    JSON can write such a text (`"\\ud83d"`), UTF-8 cannot.
    """
    if isinstance(value, str):
        return at if any("\ud800" <= letter <= "\udfff" for letter in value) else ""
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(f"{at}.{key}", item) for key, item in value.items()]
        items += [(at, key) for key in value]
    elif isinstance(value, list):
        items = [(f"{at}[{number}]", item) for number, item in enumerate(value)]
    return next(filter(None, (half_pair(item, place) for place, item in items)), "")
