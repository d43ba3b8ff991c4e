"""What the body that a replica posts stands for: a value, the items of a stream, or a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foundry_cm.errors import CmError
from foundry_cm.module.functions import Function, read_result

TEXT, NUMBER = {"type": "string", "string": {}}, {"type": "float", "float": {}}
MAP = {"type": "map", "map": {"keysType": TEXT, "valuesType": TEXT}}
SHELF = {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"shelf": TEXT}}}
ANYTHING: dict[str, Any] = {"type": "anonymousCustomType", "anonymousCustomType": {"fields": []}}


def listed(inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "list": {"elementsType": inner}}


def function(
    output: dict[str, Any], inputs: Any = ({"name": "code", "dataType": TEXT},)
) -> Function:
    schema = {"functionName": "f", "output": {"type": "single", "single": {"dataType": output}}}
    return Function(schema if inputs is None else {**schema, "inputs": list(inputs)})


UNTYPED = function(TEXT, inputs=None)
HEAD = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    "it\'s"\n'
THROWN = b'{"error": "RangeError", "reason": "no shelf"}'
# As the SDK says that it could not send an item of a stream.
UNSENT = json.dumps(
    {
        "error": f"Failed to serialize result to json: { {'exception': 'x: ' + HEAD + 'TypeError: no Step'} }"
    }
).encode()
TRACEBACK = b'{"exception": "x: Traceback (most recent call last):\\n  File \\"a.py\\", line 1, in f\\nKeyError: 1\\n"}'

FAILURES = [
    (function(MAP), b'{"error": "Unknown query type"}', "Unknown query type"),
    (function(MAP), b'{"error": "Failed to serialize result to json: x"}', "Failed to serialize"),
    (function(MAP), UNSENT, "^TypeError: no Step$"),
    (function(MAP), TRACEBACK, "KeyError: 1"),
    (UNTYPED, TRACEBACK, "KeyError: 1"),
    (function(MAP), b'{"exception": "f failed on job 1-a; the log of the module says why."}', "f failed on job 1-a"),
    (function(SHELF), b'{"exception": "there is no such shelf"}', "there is no such shelf"),
    (function(SHELF), THROWN, "RangeError: no shelf"),
    (function(NUMBER), THROWN, "RangeError: no shelf"),
    (None, THROWN, "RangeError: no shelf"),
    (None, b'{"error": "thrown"}', "thrown"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "body", "reason"), FAILURES)
def test_envelope_of_a_client_is_a_failure(
    declared: Function | None, body: bytes, reason: str
) -> None:
    with pytest.raises(CmError, match=reason) as failed:
        read_result(declared, body, 0)
    assert failed.value.code == "HandlerFailed"


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        (function(MAP), b'{"error": "the pump has stopped"}'),
        (function(MAP), b'{"exception": "none"}'),
        (function(MAP), THROWN),
        (function(listed(MAP)), b'[{"error": "the pump has stopped"}]'),
        (UNTYPED, b'{"error": "the pump has stopped"}'),
        (UNTYPED, b"5"),
        (function(ANYTHING), b'{"shelf": "B7"}'),
    ],
)
def test_result_is_no_failure_for_a_key_of_that_name(declared: Function, body: bytes) -> None:
    assert isinstance(read_result(declared, body, 0), (dict, list, int))


STREAMS = [
    (function(TEXT), [b"P1 left. ", b"It comes."], "P1 left. It comes."),
    (function(TEXT), [b"2", b"0", b"2", b"6"], "2026"),
    (function(TEXT), [b'{"a": 1}\n', b'{"a": 2}\n'], '{"a": 1}\n{"a": 2}\n'),
    (function(TEXT), [b'"a"', b'"b"'], "ab"),
    (function(TEXT), [], ""),
    (None, [b"It ", b"comes."], "It comes."),
    (UNTYPED, [b'{"a": 1}', b'{"a": 2}'], [{"a": 1}, {"a": 2}]),
    (function(listed(TEXT)), [b'"a"'], ["a"]),
    (function(listed(MAP)), [b'{"error": "a"}', b'{"error": "b"}'], [{"error": "a"}, {"error": "b"}]),
    (function(SHELF), [b'{"shelf": "a"}', b'{"shelf": "b"}'], [{"shelf": "a"}, {"shelf": "b"}]),
    (function(SHELF), [], []),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "parts", "value"), STREAMS)
def test_stream_gives_its_items_or_its_text(
    declared: Function | None, parts: list[bytes], value: Any
) -> None:
    assert read_result(declared, b"".join(parts), len(parts) or 1) == value


def test_schema_that_nobody_can_read_says_what_is_wrong() -> None:
    with pytest.raises(CmError, match='cannot read: "fields" is no map from names to types, in {'):
        function({"type": "anonymousCustomType", "anonymousCustomType": {"fields": ["shelf"]}})
    with pytest.raises(CmError, match="cannot read: 'functionName' is missing, in {}"):
        Function({})
