"""The types that properties and parameters have, and the values that fit them.

A value is kept as Python has it: `Decimal`, `date`, an aware `datetime`. The API writes some types as
text, `long` and `decimal` among them, and takes numbers and booleans as text too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
REALS = ("float", "double")
NUMBERS = (*BITS, *REALS, "decimal")
TIMES = ("date", "timestamp")
NAMES = ("string", "boolean", *NUMBERS, *TIMES, "geopoint")
KEYS = ("string", "boolean", *BITS, *TIMES)
"""The types that a primary key may have."""

_LIST = re.compile(r"list\[(.*)\]")
# As JSON writes numbers, and ISO 8601 moments: Python's own readers take more.
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SAID = {
    "string": "text",
    "boolean": "true or false",
    "float": "a number",
    "double": "a number",
    "decimal": 'a decimal number, such as "2.50"',
    "date": 'a date, such as "2026-01-31"',
    "timestamp": 'a time with its zone, such as "2026-01-31T12:00:00Z"',
    "geopoint": 'a point, such as {"type": "Point", "coordinates": [8.5, 47.4]}',
}


@dataclass(frozen=True)
class ValueType:
    """A base type, or a list of one."""

    name: str
    is_list: bool = False

    def __str__(self) -> str:
        return f"list[{self.name}]" if self.is_list else self.name

    @property
    def item(self) -> ValueType:
        """The type of the items of a list."""
        return ValueType(self.name)

    @property
    def api_name(self) -> str:
        """As the errors of the API name it, such as `Array<String>`."""
        if self.is_list:
            return f"Array<{self.item.api_name}>"
        return "LocalDate" if self.name == "date" else self.name.capitalize()

    @property
    def said(self) -> str:
        """In plain words, for whoever wrote something else."""
        if self.is_list:
            return f"a list, each item {self.item.said}"
        if self.name in BITS:
            return f"a whole number of {BITS[self.name]} bits"
        return _SAID[self.name]


def split_list(text: str) -> tuple[str, bool]:
    """The name in `list[NAME]`, and that it is a list; or the text as it is."""
    match = _LIST.fullmatch(text)
    return (match[1], True) if match else (text, False)


def parse(kind: ValueType, value: Any, *, as_text: bool = False) -> Any:
    """The value that a file or a call has for a type; raises `ValueError` for one that does not fit.

    `as_text`: numbers and booleans may be written as text, as the API takes them.
    """
    if kind.is_list:
        if not isinstance(value, list):
            raise ValueError
        return [parse(kind.item, each, as_text=as_text) for each in value]
    if as_text and isinstance(value, str) and kind.name in _FROM_TEXT:
        value = _FROM_TEXT[kind.name](value)
    return _PARSERS[kind.name](kind.name, value)


def render(kind: ValueType, value: Any) -> Any:
    """A value as the API writes it."""
    if kind.is_list:
        return [render(kind.item, each) for each in value]
    if kind.name == "long":
        return str(value)
    if kind.name == "decimal":
        return f"{value:f}"
    if kind.name == "date":
        return value.isoformat()
    if kind.name == "timestamp":
        digits = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        return value.isoformat(timespec=digits).replace("+00:00", "Z")
    return value


def _string(_: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    # Half of a surrogate pair can be written in JSON, and in no answer.
    value.encode()
    return value


def _boolean(_: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, str) and name == "long" and _WHOLE.fullmatch(value):
        value = int(value)
    half = 1 << (BITS[name] - 1)
    if not isinstance(value, int) or isinstance(value, bool) or not -half <= value < half:
        raise ValueError
    return value


def _real(_: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(number):
        raise ValueError
    return number


def _decimal(_: str, value: Any) -> Decimal:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError from None
    # Foundry has 38 digits at most, before the point and after it.
    if not number.is_finite() or len(number.as_tuple().digits) > 38 or abs(number.adjusted()) > 38:
        raise ValueError
    return number


def _date(_: str, value: Any) -> date:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise ValueError
    return date.fromisoformat(value)


def _timestamp(_: str, value: Any) -> datetime:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError
    moment = datetime.fromisoformat(value)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


def _geopoint(_: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != {"type", "coordinates"}:
        raise ValueError
    place = value["coordinates"]
    if value["type"] != "Point" or not isinstance(place, list) or len(place) != 2:
        raise ValueError
    longitude, latitude = (_real("double", each) for each in place)
    if abs(longitude) > 180 or abs(latitude) > 90:
        raise ValueError
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _read_boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _read_real(text: str) -> Any:
    return float(text) if _NUMBER.fullmatch(text) else text


def _read_whole(text: str) -> Any:
    return int(text) if _WHOLE.fullmatch(text) else text


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "string": _string,
    "boolean": _boolean,
    **dict.fromkeys(BITS, _integer),
    **dict.fromkeys(REALS, _real),
    "decimal": _decimal,
    "date": _date,
    "timestamp": _timestamp,
    "geopoint": _geopoint,
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "boolean": _read_boolean,
    **dict.fromkeys(BITS, _read_whole),
    **dict.fromkeys(REALS, _read_real),
}
