"""Aggregations: objects in groups, and what is counted or computed for each group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeGuard

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.files import Properties
from foundry_cm.local.platform.ontologies.filters import named_property
from foundry_cm.local.platform.ontologies.schema import ObjectType
from foundry_cm.local.platform.ontologies.values import NUMBERS, TIMES, ValueType, parse, render

MOST_GROUPS = 10_000
MOST_COUNT = 100_000_000
Groups = Callable[[Properties], list[tuple[Any, Any]]]
"""The groups that an object falls into, each as something to know it by and as the API shows it."""

_SECONDS = {"SECONDS": 1, "MINUTES": 60, "HOURS": 3600, "DAYS": 86400}
_CALENDAR = ("WEEKS", "MONTHS", "QUARTERS", "YEARS")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Grouping:
    """One clause of `groupBy`.

    `most` is how many of its groups are given; None where too many are refused instead.
    """

    field: str
    groups: Groups
    most: int | None = None
    has_null: bool = False


@dataclass(frozen=True)
class Metric:
    """What is computed for a group; `direction` orders the groups by it."""

    name: str
    compute: Callable[[list[Properties]], Any]
    direction: str | None


def aggregate(
    kind: ObjectType, objects: Iterable[Properties], asked: dict[str, Any]
) -> dict[str, Any]:
    """The answer to a call that asks for aggregations."""
    clauses, metrics = asked.get("groupBy", []), asked.get("aggregation", [])
    if not isinstance(clauses, list) or not isinstance(metrics, list):
        raise ApiError("InvalidRequestBody")
    by = [_grouping(kind, clause) for clause in clauses]
    chosen = [_metric(kind, each) for each in metrics]
    fields = [each.field for each in by]
    if twice := [name for name in dict.fromkeys(fields) if fields.count(name) > 1]:
        raise ApiError("MultipleGroupByOnFieldNotSupported", duplicateFields=twice)
    if any(metric.direction for metric in chosen):
        if len(by) != 1:
            raise ApiError("InvalidAggregationOrdering")
        if by[0].has_null:
            raise ApiError("InvalidAggregationOrderingWithNullValues")
    members, shown = _grouped(objects, by)
    excluded = _exclude(members, by)
    limit = max(MOST_GROUPS, *(each.most or 0 for each in by), 0)
    if len(members) > limit:
        raise ApiError(
            "AggregationGroupCountExceededLimit", groupsCount=len(members), groupsLimit=limit
        )
    if excluded and asked.get("accuracy") == "REQUIRE_ACCURATE":
        raise ApiError("AggregationAccuracyNotSupported")
    rows = [
        {
            "group": dict(zip(fields, shown[key], strict=True)),
            "metrics": [{"name": metric.name, **_value(metric, found)} for metric in chosen],
        }
        for key, found in members.items()
    ]
    for place in reversed([n for n, metric in enumerate(chosen) if metric.direction]):
        _order(rows, place, descending=chosen[place].direction == "DESC")
    return {
        "accuracy": "APPROXIMATE" if excluded else "ACCURATE",
        "excludedItems": excluded,
        "data": rows,
    }


def _grouped(
    objects: Iterable[Properties], by: list[Grouping]
) -> tuple[dict[tuple[Any, ...], list[Properties]], dict[tuple[Any, ...], tuple[Any, ...]]]:
    """The members of each group, the largest group first, and how the group is shown."""
    members: dict[tuple[Any, ...], list[Properties]] = {} if by else {(): []}
    shown: dict[tuple[Any, ...], tuple[Any, ...]] = {(): ()}
    for found in objects:
        paths: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [((), ())]
        for each in by:
            paths = [
                ((*keys, key), (*values, value))
                for keys, values in paths
                for key, value in each.groups(found)
            ]
        for keys, values in paths:
            members.setdefault(keys, []).append(found)
            shown[keys] = values
    return dict(sorted(members.items(), key=lambda item: -len(item[1]))), shown


def _exclude(members: dict[tuple[Any, ...], list[Properties]], by: list[Grouping]) -> int:
    """Leave out what is beyond the most groups of a clause; gives how many objects that costs.

    The groups with the most objects stay, whatever the other clauses make of these.
    """
    excluded = 0
    for place, each in enumerate(by):
        sizes: Counter[Any] = Counter()
        for keys, found in members.items():
            sizes[keys[place]] += len(found)
        kept = {key for key, _ in sizes.most_common(each.most)}
        for keys in [keys for keys in members if keys[place] not in kept]:
            excluded += len(members.pop(keys))
    return excluded


def _order(rows: list[dict[str, Any]], place: int, *, descending: bool) -> None:
    """Groups by one metric; those where it has no value come last."""

    def key(row: dict[str, Any]) -> tuple[bool, Any]:
        value = row["metrics"][place].get("value")
        return (value is None) != descending, value if value is not None else 0

    rows.sort(key=key, reverse=descending)


def _value(metric: Metric, found: list[Properties]) -> dict[str, Any]:
    value = metric.compute(found)
    # JSON has no infinity, which a sum of doubles may reach.
    is_none = value is None or (isinstance(value, float) and not math.isfinite(value))
    return {} if is_none else {"value": value}


# Metrics.


def _metric(kind: ObjectType, asked: Any) -> Metric:
    if not isinstance(asked, dict) or not isinstance(asked.get("type"), str):
        raise ApiError("InvalidRequestBody")
    name, direction = asked["type"], asked.get("direction")
    if direction not in (None, "ASC", "DESC"):
        raise ApiError("InvalidSortOrder", invalidSortOrder=str(direction))
    if name == "count":
        return Metric(str(asked.get("name") or "count"), lambda found: float(len(found)), direction)
    field = named_property(kind, asked)
    compute = _computation(name, field, kind.properties[field], asked)
    return Metric(str(asked.get("name") or f"{name}({field})"), compute, direction)


def _computation(
    name: str, field: str, of: ValueType, asked: dict[str, Any]
) -> Callable[[list[Properties]], Any]:
    def values(found: list[Properties]) -> list[Any]:
        return [each[field] for each in found if field in each]

    is_number, is_time = of.name in NUMBERS and not of.is_list, of.name in TIMES and not of.is_list
    if (
        name in ("exactDistinct", "approximateDistinct")
        and not of.is_list
        and of.name != "geopoint"
    ):
        return lambda found: float(len(set(values(found))))
    if name in ("min", "max") and (is_number or is_time):
        choose = min if name == "min" else max

        def extreme(found: list[Properties]) -> Any:
            value = choose(values(found), default=None)
            return value if value is None else render(of, value) if is_time else float(value)

        return extreme
    if name == "sum" and is_number:
        return lambda found: float(sum(values(found)))
    if name == "avg" and is_number:
        return lambda found: _percentile_or_mean(values(found), None)
    if name == "approximatePercentile" and is_number:
        share = asked.get("approximatePercentile")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 100:
            raise ApiError("InvalidRequestBody")
        return lambda found: _percentile_or_mean(values(found), float(share))
    raise ApiError("AggregationMetricNotSupported", metricType=name)


def _percentile_or_mean(values: list[Any], share: float | None) -> float | None:
    """The mean; or the value below which that share, in per cent, of the values lies."""
    if not values:
        return None
    if share is None:
        return float(sum(values)) / len(values)
    ordered = sorted(map(float, values))
    at = share / 100 * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


# Groups.


def _grouping(kind: ObjectType, clause: Any) -> Grouping:
    if not isinstance(clause, dict):
        raise ApiError("InvalidRequestBody")
    form, field = clause.get("type"), named_property(kind, clause)
    of = kind.properties[field]
    if form == "exact":
        return _exact(field, of, clause)
    if form == "fixedWidth":
        return Grouping(field, _fixed_width(field, of, clause.get("fixedWidth")))
    if form == "ranges":
        return Grouping(field, _ranges(kind, field, of, clause.get("ranges")))
    if form == "duration":
        return Grouping(field, _duration(kind, field, of, clause))
    raise ApiError("InvalidRequestBody")


def _exact(field: str, of: ValueType, clause: dict[str, Any]) -> Grouping:
    default, with_null = clause.get("defaultValue"), clause.get("includeNullValues") is True
    most = clause.get("maxGroupCount")
    if default is not None and with_null:
        raise ApiError("DefaultAndNullGroupsNotSupported")
    if most is not None and not _is_count(most):
        raise ApiError("InvalidRequestBody")
    if of.is_list or of.name == "geopoint":
        raise ApiError("InvalidPropertyType", propertyBaseType=of.api_name, property=field)
    absent = [_default(of, default)] if default is not None or with_null else []

    def groups(found: Properties) -> list[tuple[Any, Any]]:
        return [(found[field], render(of, found[field]))] if field in found else absent

    return Grouping(field, groups, most or MOST_GROUPS, with_null)


def _default(of: ValueType, default: Any) -> tuple[Any, Any]:
    """The group of objects without a value: that of the default, if it is a value of the type."""
    try:
        value = parse(of, default, as_text=True)
    except ValueError:
        return None, default
    return value, render(of, value)


def _is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number that something can be divided by."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_COUNT


def _fixed_width(field: str, of: ValueType, width: Any) -> Groups:
    if of.is_list or of.name not in NUMBERS:
        raise ApiError("InvalidPropertyType", propertyBaseType=of.api_name, property=field)
    if not _is_count(width):
        raise ApiError("InvalidRequestBody")

    def groups(found: Properties) -> list[tuple[Any, Any]]:
        if field not in found:
            return []
        start = math.floor(found[field] / width) * width
        return [(start, start)]

    return groups


def _ranges(kind: ObjectType, field: str, of: ValueType, asked: Any) -> Groups:
    told = {"property": field, "objectType": kind.name, "propertyBaseType": of.api_name}
    if of.is_list or of.name not in (*NUMBERS, *TIMES):
        raise ApiError("InvalidAggregationRangePropertyType", status=None, headers=None, **told)
    if not isinstance(asked, list) or not all(isinstance(each, dict) for each in asked):
        raise ApiError("InvalidRequestBody")
    ranges = []
    for each in asked:
        try:
            ends = [parse(of, each.get(end), as_text=True) for end in ("startValue", "endValue")]
        except ValueError:
            raise ApiError(
                "InvalidAggregationRangeValue", status=None, headers=None, **told
            ) from None
        if ends[0] >= ends[1]:
            raise ApiError("InvalidAggregationRange")
        shown = {"startValue": render(of, ends[0]), "endValue": render(of, ends[1])}
        ranges.append((ends[0], ends[1], shown))

    def groups(found: Properties) -> list[tuple[Any, Any]]:
        if field not in found:
            return []
        value = found[field]
        return [((start, end), shown) for start, end, shown in ranges if start <= value < end]

    return groups


def _duration(kind: ObjectType, field: str, of: ValueType, clause: dict[str, Any]) -> Groups:
    unit, count = clause.get("unit"), clause.get("value")
    if (
        of.is_list
        or of.name not in TIMES
        or (of.name == "date" and unit in ("SECONDS", "MINUTES", "HOURS"))
    ):
        raise ApiError(
            "InvalidDurationGroupByPropertyType",
            property=field,
            objectType=kind.name,
            propertyBaseType=of.api_name,
        )
    known = unit in _SECONDS or unit in _CALENDAR
    if not known or not _is_count(count) or (unit in _CALENDAR and count != 1):
        raise ApiError("InvalidDurationGroupByValue")

    def groups(found: Properties) -> list[tuple[Any, Any]]:
        if field not in found:
            return []
        start = _start(found[field], str(unit), count)
        return [(start, render(of, start))]

    return groups


def _start(value: date, unit: str, count: int) -> date:
    """Where the interval begins that a date or a timestamp lies in."""
    moment = (
        value
        if isinstance(value, datetime)
        else datetime(value.year, value.month, value.day, tzinfo=UTC)
    )
    if unit in _SECONDS:
        width = timedelta(seconds=_SECONDS[unit] * count)
        try:
            start = _EPOCH + (moment - _EPOCH) // width * width
        except OverflowError:  # before the year 1
            start = datetime.min.replace(tzinfo=UTC)
    else:
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        start = {
            "WEEKS": day - timedelta(days=day.weekday()),
            "MONTHS": day.replace(day=1),
            "QUARTERS": day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
            "YEARS": day.replace(day=1, month=1),
        }[unit]
    return start if isinstance(value, datetime) else start.date()
