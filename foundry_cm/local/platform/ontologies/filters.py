"""The filters of a search, each made into a test of one object."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.schema import ObjectType
from foundry_cm.local.platform.ontologies.values import NUMBERS, TIMES, ValueType, parse

Test = Callable[[Properties], bool]

DEPTH = 3
"""Queries can be at most so many levels deep."""

_COMPARED = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
# What stands between terms. A period inside one is a part of it ("3.5"), and none at its ends.
_BETWEEN = re.compile(r"[\s?!,:;\-\[\](){}'\"~]+")
_TERMS = ("containsAllTerms", "containsAnyTerm")
_IN_ORDER = (
    "containsAllTermsInOrder",
    "containsAllTermsInOrderPrefixLastTerm",
    "startsWith",
)


def test_of(kind: ObjectType, query: Any) -> Test:
    """The test that a query is; no query lets every object pass."""
    return _test(kind, query, 1) if query is not None else lambda _: True


def _test(kind: ObjectType, query: Any, depth: int) -> Test:
    if not isinstance(query, dict) or not isinstance(query.get("type"), str):
        raise ApiError("InvalidRequestBody")
    name, value = query["type"], query.get("value")
    if depth > DEPTH:
        raise ApiError(
            "MalformedPropertyFilters",
            malformedPropertyFilter=f"{name}: a query has {DEPTH} levels at most",
        )
    if name in ("and", "or"):
        if not isinstance(value, list):
            raise ApiError("InvalidRequestBody")
        tests = [_test(kind, each, depth + 1) for each in value]
        joined = all if name == "and" else any
        return lambda found: joined(test(found) for test in tests)
    if name == "not":
        test = _test(kind, value, depth + 1)
        return lambda found: not test(found)
    return _test_of_property(kind, named_property(kind, query), query)


def named_property(kind: ObjectType, query: dict[str, Any]) -> str:
    """The property that a filter or a grouping is about: by `field`, or by `propertyIdentifier`."""
    field, identifier = query.get("field"), query.get("propertyIdentifier")
    if (field is None) == (identifier is None):
        raise ApiError(
            "MalformedPropertyFilters",
            malformedPropertyFilter=f"{query.get('type')}: either field or propertyIdentifier",
        )
    if identifier is not None:
        field = _identified(kind, identifier)
    if not isinstance(field, str) or field not in kind.properties:
        raise ApiError("PropertiesNotFound", objectType=kind.name, properties=[str(field)])
    return field


def _identified(kind: ObjectType, identifier: Any) -> Any:
    form = identifier.get("type") if isinstance(identifier, dict) else None
    if form == "property":
        return identifier.get("apiName")
    if form == "titleProperty":
        return kind.title
    if form == "primaryKeyProperty":
        return kind.primary_key
    raise ApiError(
        "PropertyFiltersNotSupported", propertyFilters=[str(form)], property=kind.primary_key
    )


def _test_of_property(kind: ObjectType, field: str, query: dict[str, Any]) -> Test:
    name, value, of = query["type"], query.get("value"), kind.properties[field]
    if name == "isNull":
        if not isinstance(value, bool):
            raise _wrong_value("Boolean", name, value, field)
        return lambda found: (field not in found) == value
    if name == "eq" and _is_plain(of):
        wanted = _parsed(of, name, value, field)
        return lambda found: found.get(field) == wanted and field in found
    if name == "in" and _is_plain(of):
        if not isinstance(value, list):
            raise _wrong_value(of.api_name, name, value, field)
        every = {_parsed(of, name, each, field) for each in value}
        # An empty list lets every object pass.
        return lambda found: not every or (field in found and found[field] in every)
    if name in _COMPARED and not of.is_list and of.name in ("string", *NUMBERS, *TIMES):
        compared, limit = _COMPARED[name], _parsed(of, name, value, field)
        return lambda found: field in found and bool(compared(found[field], limit))
    if name == "contains" and of.is_list:
        item = _parsed(of.item, name, value, field)
        return lambda found: item in found.get(field, ())
    if name in (*_TERMS, *_IN_ORDER, "wildcard") and of == ValueType("string"):
        if not isinstance(value, str):
            raise _wrong_value("String", name, value, field)
        matches = _match(name, value, fuzzy=query.get("fuzzy") is True)
        return lambda found: field in found and matches(found[field])
    raise ApiError("PropertyFiltersNotSupported", propertyFilters=[name], property=field)


def _is_plain(kind: ValueType) -> bool:
    return not kind.is_list and kind.name != "geopoint"


def _parsed(kind: ValueType, name: str, value: Any, field: str) -> Any:
    try:
        return parse(kind, value, as_text=True)
    except ValueError:
        raise _wrong_value(kind.api_name, name, value, field) from None


def _wrong_value(expected: str, name: str, value: Any, field: str) -> ApiError:
    return ApiError(
        "InvalidPropertyFilterValue",
        expectedType=expected,
        propertyFilter=name,
        propertyFilterValue=str(value),
        property=field,
    )


# Texts.


def terms(text: str) -> list[str]:
    """The terms of a text, in lower case."""
    found = (term.strip(".") for term in _BETWEEN.split(text.lower()))
    return [term for term in found if term]


def _match(name: str, value: str, *, fuzzy: bool) -> Callable[[str], bool]:
    """The test of a text that a filter by terms is."""
    if name == "wildcard":
        pieces = (re.escape(each) for each in re.split(r"([*?])", value))
        form = "".join({r"\*": ".*", r"\?": "."}.get(each, each) for each in pieces)
        pattern = re.compile(form, re.DOTALL | re.IGNORECASE)
        return lambda text: bool(pattern.fullmatch(text))
    wanted = terms(value)
    if name in _TERMS:
        joined = all if name == "containsAllTerms" else any
        alike = _alike if fuzzy else operator.eq
        return lambda text: joined(
            any(alike(term, each) for each in terms(text)) for term in wanted
        )
    by_prefix = name != "containsAllTermsInOrder"

    def in_order(text: str) -> bool:
        there, size = terms(text), len(wanted)
        for start in range(len(there) - size + 1):
            found = there[start : start + size]
            if found == wanted:
                return True
            if by_prefix and found[:-1] == wanted[:-1] and found[-1].startswith(wanted[-1]):
                return True
        return False

    return in_order


def _alike(one: str, other: str) -> bool:
    """Whether two terms are the same but for a letter, or two where they are long."""
    allowed = 0 if len(one) < 3 else 1 if len(one) < 6 else 2
    if abs(len(one) - len(other)) > allowed:
        return False
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, theirs in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != theirs))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == theirs:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1] <= allowed
