"""Converts what a handler returns to JSON values."""

import dataclasses
import datetime
import math
from typing import Any


def to_json(value: Any, path: str) -> Any:
    """The value with records as dicts, and NumPy and torch values as Python numbers.

    NaN, infinity and types that the SDK cannot send raise an error that names the place, such as
    `search()[2].score`.
    """
    if value is None or isinstance(value, str | bool | datetime.date):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}, which JSON cannot carry; return another number")
        return float(value)
    if isinstance(value, int):
        return int(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # As in the SDK, a field that is None is left out.
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_json(item, f"{path}.{name}") for name, item in fields if item is not None}
    if isinstance(value, dict):
        return {key: to_json(item, f"{path}[{key!r}]") for key, item in value.items()}
    if type(value) is list and set(map(type, value)) == {float} and all(map(math.isfinite, value)):
        return value  # a vector: the usual large result
    if isinstance(value, list | tuple):
        return [to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):
        dtype: Any = getattr(value, "dtype", None)
        if getattr(dtype, "kind", "") == "f" and dtype.itemsize < 8:
            value = value.astype(str).astype(float)  # float32 without the digits that float64 adds
        return to_json(value.tolist(), path)
    raise TypeError(
        f"{path} is of type {type(value).__name__}, which the SDK cannot send; "
        "return str, int, float, bool, a list of them, or a dataclass"
    )
