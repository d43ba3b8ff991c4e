"""The Ontology, read and edited by the unmodified official client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.ontologies.aggregations import MOST_GROUPS, aggregate
from foundry_cm.local.platform.ontologies.schema import ObjectType
from foundry_cm.local.platform.ontologies.values import ValueType, parse, render
from tests.platform.ontology import client, ids, refused, write_ontology
from tests.platforms import running_platform


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ontology")
    write_ontology(folder)
    return folder


@pytest.fixture(scope="module")
def ontologies(root: Path) -> Iterator[Any]:
    """`client.ontologies` of the official client against a platform that is not edited."""
    with pytest.MonkeyPatch.context() as patched, running_platform(root, []) as running:
        yield client(running, patched)


def test_types_are_described(ontologies: Any) -> None:
    (found,) = ontologies.Ontology.list().data
    assert ontologies.Ontology.get(found.rid).api_name == found.api_name == "ontology"
    assert [each.api_name for each in ontologies.Ontology.ObjectType.list("ontology")] == [
        "Ticket",
        "Person",
    ]
    ticket = ontologies.Ontology.ObjectType.get("ontology", "Ticket")
    assert (ticket.primary_key, ticket.title_property) == ("id", "subject")
    types = {name: each.data_type.type for name, each in ticket.properties.items()}
    assert (types["views"], types["tags"], types["due"]) == ("long", "array", "date")
    sides = ontologies.Ontology.ObjectType.list_outgoing_link_types("ontology", "Person")
    assert [(side.api_name, side.object_type_api_name, side.cardinality) for side in sides] == [
        ("tickets", "Ticket", "MANY"),
        ("watched", "Ticket", "MANY"),
    ]
    side = ontologies.Ontology.ObjectType.get_outgoing_link_type("ontology", "Ticket", "assignee")
    assert (side.cardinality, side.foreign_key_property_api_name) == ("ONE", "owner")


def test_object_is_written_as_the_api_writes_it(ontologies: Any) -> None:
    found = ontologies.OntologyObject.get("ontology", "Ticket", "1")
    assert found.pop("__rid").startswith("ri.phonograph2-objects.main.object.")
    assert found == {
        "__primaryKey": 1,
        "__apiName": "Ticket",
        "__title": "Printer on fire",
        "id": 1,
        "subject": "Printer on fire",
        "status": "open",
        "owner": "ann",
        "points": 3.0,
        "due": "2026-03-01",
        "opened": "2026-01-31T11:00:00.000Z",
        "cost": "2.50",
        "views": "9007199254740993",
        "tags": ["hot", "paper"],
        "done": False,
    }


def test_a_decimal_is_written_without_an_exponent() -> None:
    kind = ValueType("decimal")
    assert render(kind, parse(kind, "1E+5")) == "100000"


def test_select_and_exclude_rid(ontologies: Any) -> None:
    found = ontologies.OntologyObject.get(
        "ontology", "Ticket", "2", select=["status", "due"], exclude_rid=True
    )
    assert found == {
        "__primaryKey": 2,
        "__apiName": "Ticket",
        "__title": "No toner",
        "id": 2,
        "status": "open",
    }


def test_list_is_paged_and_ordered(ontologies: Any) -> None:
    def listed(**asked: Any) -> list[int]:
        return ids(ontologies.OntologyObject.list("ontology", "Ticket", page_size=2, **asked))

    assert listed() == [1, 2, 3]
    assert listed(order_by="properties.points:desc") == [1, 2, 3]
    assert listed(order_by="p.status,p.id:desc") == [3, 2, 1]
    assert listed(order_by="p.due:desc") == [3, 1, 2]
    page = ontologies.OntologyObject.with_raw_response.list("ontology", "Ticket", page_size=2)
    assert page.decode().total_count == 3


def test_linked_objects(ontologies: Any) -> None:
    linked = ontologies.LinkedObject.list_linked_objects
    assert [each["name"] for each in linked("ontology", "Ticket", "1", "assignee")] == ["ann"]
    assert [each["name"] for each in linked("ontology", "Ticket", "1", "watchers")] == ["bob", "cy"]
    assert ids(linked("ontology", "Person", "ann", "tickets")) == [1, 3]
    assert ids(linked("ontology", "Person", "cy", "watched")) == [1]
    one = ontologies.LinkedObject.get_linked_object
    assert one("ontology", "Person", "ann", "tickets", "3")["subject"] == "Paper jam again"
    refused("LinkedObjectNotFound", one, "ontology", "Person", "ann", "tickets", "2")


def test_what_is_not_there_is_told_by_the_platforms_names(ontologies: Any) -> None:
    get, listed = ontologies.OntologyObject.get, ontologies.OntologyObject.list
    assert refused("OntologyNotFound", get, "other", "Ticket", "1") == {"apiName": "other"}
    refused("ObjectTypeNotFound", get, "ontology", "Tikcet", "1")
    missing = refused("ObjectNotFound", get, "ontology", "Ticket", "9")
    assert missing == {"objectType": "Ticket", "primaryKey": {"id": 9}}
    refused("InvalidPropertyValue", get, "ontology", "Ticket", "one")
    refused("PropertiesNotFound", get, "ontology", "Ticket", "1", select=["stauts"])
    link = ontologies.Ontology.ObjectType.get_outgoing_link_type
    refused("LinkTypeNotFound", link, "ontology", "Ticket", "owner")
    refused("PropertiesNotSortable", listed, "ontology", "Ticket", order_by="p.tags")
    refused("InvalidSortOrder", listed, "ontology", "Ticket", order_by="p.id:down")
    refused("InvalidSortType", listed, "ontology", "Ticket", order_by="q.id")
    refused("InvalidFields", listed, "ontology", "Ticket", order_by="id")
    refused("InvalidPageToken", listed, "ontology", "Ticket", page_token="second")
    refused("DuplicateOrderBy", listed, "ontology", "Ticket", order_by="p.id,p.id")


def eq(field: str, value: Any) -> dict[str, Any]:
    return {"type": "eq", "field": field, "value": value}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (eq("status", "open"), [1, 2]),
        (eq("id", "2"), [2]),
        (eq("views", "9007199254740993"), [1]),
        (eq("opened", "2026-01-31T11:00:00Z"), [1]),
        ({"type": "in", "field": "owner", "value": ["bob", "cy"]}, [2]),
        ({"type": "in", "field": "owner", "value": []}, [1, 2, 3]),
        ({"type": "lt", "field": "due", "value": "2026-03-31"}, [1]),
        ({"type": "lte", "field": "points", "value": 1.5}, [2]),
        ({"type": "gt", "field": "cost", "value": "2.4"}, [1]),
        ({"type": "gte", "field": "subject", "value": "Paper jam again"}, [1, 3]),
        ({"type": "isNull", "field": "points", "value": True}, [3]),
        ({"type": "isNull", "field": "points", "value": False}, [1, 2]),
        ({"type": "contains", "field": "tags", "value": "paper"}, [1, 3]),
        ({"type": "not", "value": eq("points", 3)}, [2, 3]),
        ({"type": "and", "value": [eq("owner", "ann"), eq("done", True)]}, [3]),
        ({"type": "or", "value": [eq("id", 1), {"type": "not", "value": eq("id", 2)}]}, [1, 3]),
        ({"type": "containsAllTerms", "field": "subject", "value": "FIRE, printer"}, [1]),
        ({"type": "containsAllTerms", "field": "subject", "value": "pap"}, []),
        ({"type": "containsAllTerms", "field": "subject", "value": "...printer."}, [1]),
        ({"type": "containsAllTerms", "field": "subject", "value": "pritner", "fuzzy": True}, [1]),
        ({"type": "containsAnyTerm", "field": "subject", "value": "toner jam"}, [2, 3]),
        ({"type": "containsAllTermsInOrder", "field": "subject", "value": "on fire"}, [1]),
        ({"type": "containsAllTermsInOrder", "field": "subject", "value": "fire on"}, []),
        ({"type": "startsWith", "field": "subject", "value": "jam ag"}, [3]),
        ({"type": "wildcard", "field": "subject", "value": "*t?ner"}, [2]),
        ({"type": "eq", "propertyIdentifier": {"type": "primaryKeyProperty"}, "value": 3}, [3]),
        (
            {"type": "eq", "propertyIdentifier": {"type": "property", "apiName": "id"}, "value": 3},
            [3],
        ),
    ],
)
def test_search(ontologies: Any, where: dict[str, Any], found: list[int]) -> None:
    search = ontologies.OntologyObject.search
    assert ids(search("ontology", "Ticket", select=["id"], where=where).data) == found


def test_search_is_paged_ordered_and_shown_as_asked(ontologies: Any) -> None:
    asked = {
        "select": ["owner"],
        "exclude_rid": True,
        "order_by": {"fields": [{"field": "id", "direction": "desc"}]},
        "page_size": 2,
    }
    first = ontologies.OntologyObject.search("ontology", "Ticket", **asked)
    assert (ids(first.data), first.total_count) == ([3, 2], 3)
    assert set(first.data[0]) == {"__primaryKey", "__apiName", "__title", "id", "owner"}
    second = ontologies.OntologyObject.search(
        "ontology", "Ticket", page_token=first.next_page_token, **asked
    )
    assert (ids(second.data), second.next_page_token) == ([1], None)


def test_search_that_means_nothing_is_refused(ontologies: Any) -> None:
    def search(where: Any, **asked: Any) -> Any:
        asked = {"select": ["id"], "where": where} | asked
        return ontologies.OntologyObject.search("ontology", "Ticket", **asked)

    refused("PropertiesNotFound", search, eq("stauts", "open"))
    told = refused("InvalidPropertyFilterValue", search, eq("due", "tomorrow"))
    assert told["expectedType"] == "LocalDate"
    refused("InvalidPropertyFilterValue", search, eq("opened", "20260131T120000Z"))
    refused("InvalidPropertyFilterValue", search, eq("points", "1_5"))
    refused("PropertyFiltersNotSupported", search, eq("tags", "hot"))
    refused("PropertyFiltersNotSupported", search, {"type": "regex", "field": "id", "value": "1"})
    deep = {"type": "not", "value": {"type": "not", "value": eq("id", 1)}}
    refused("MalformedPropertyFilters", search, {"type": "not", "value": deep})
    refused("MalformedPropertyFilters", search, {"type": "eq", "value": 1})
    refused("InvalidPropertyFilterValue", search, {"type": "in", "field": "id", "value": ["x"]})
    order = {"fields": [{"field": "place"}]}
    refused("PropertiesNotSortable", search, None, order_by=order)


def aggregated(call: Any, *given: Any, **asked: Any) -> list[tuple[Any, ...]]:
    """Each group with its metrics, in the order of the answer."""
    found = call("ontology", *given, **({"group_by": []} | asked))
    return [(*row.group.values(), *(each.value for each in row.metrics)) for row in found.data]


def test_aggregate_computes_metrics(ontologies: Any) -> None:
    call = ontologies.OntologyObject.aggregate
    on_points = [
        {"type": name, "field": "points"} for name in ("min", "max", "sum", "avg", "exactDistinct")
    ]
    percentile = {"type": "approximatePercentile", "field": "points", "approximatePercentile": 50}
    metrics = [{"type": "count"}, *on_points, percentile, {"type": "max", "field": "due"}]
    assert aggregated(call, "Ticket", aggregation=metrics) == [
        (3.0, 1.5, 3.0, 4.5, 2.25, 2.0, 2.25, "2026-03-31")
    ]
    nobody = {"where": eq("owner", "nobody"), "aggregation": metrics[:1]}
    assert aggregated(call, "Ticket", **nobody) == [(0.0,)]
    preview = ontologies.OntologyObject.count("ontology", "Ticket", preview=True)
    assert preview.count == 3


@pytest.mark.parametrize(
    ("group", "found"),
    [
        ({"type": "exact", "field": "owner"}, [("ann", 2.0), ("bob", 1.0)]),
        ({"type": "exact", "field": "points"}, [(3.0, 1.0), (1.5, 1.0)]),
        (
            {"type": "exact", "field": "done", "includeNullValues": True},
            [(False, 1.0), (None, 1.0), (True, 1.0)],
        ),
        ({"type": "exact", "field": "owner", "maxGroupCount": 1}, [("ann", 2.0)]),
        ({"type": "exact", "field": "points", "defaultValue": "3"}, [(3.0, 2.0), (1.5, 1.0)]),
        ({"type": "fixedWidth", "field": "points", "fixedWidth": 2}, [(2, 1.0), (0, 1.0)]),
        ({"type": "duration", "field": "due", "value": 1, "unit": "MONTHS"}, [("2026-03-01", 2.0)]),
        (
            {"type": "duration", "field": "opened", "value": 6, "unit": "HOURS"},
            [("2026-01-31T06:00:00.000Z", 1.0)],
        ),
        (
            {"type": "ranges", "field": "id", "ranges": [{"startValue": 1, "endValue": 3}]},
            [({"startValue": 1, "endValue": 3}, 2.0)],
        ),
    ],
)
def test_aggregate_groups(ontologies: Any, group: dict[str, Any], found: list[Any]) -> None:
    asked = {"aggregation": [{"type": "count"}], "group_by": [group]}
    assert aggregated(ontologies.OntologyObject.aggregate, "Ticket", **asked) == found


def test_aggregation_that_means_nothing_is_refused(ontologies: Any) -> None:
    def call(metric: Any, *groups: Any, **asked: Any) -> Any:
        return ontologies.OntologyObject.aggregate(
            "ontology", "Ticket", aggregation=[metric], group_by=list(groups), **asked
        )

    count, by_owner = {"type": "count"}, {"type": "exact", "field": "owner"}
    refused("AggregationMetricNotSupported", call, {"type": "sum", "field": "owner"})
    refused("InvalidAggregationOrdering", call, count | {"direction": "ASC"})
    refused("MultipleGroupByOnFieldNotSupported", call, count, by_owner, by_owner)
    refused(
        "InvalidDurationGroupByValue",
        call,
        count,
        {"type": "duration", "field": "due", "value": 2, "unit": "YEARS"},
    )
    refused(
        "InvalidDurationGroupByPropertyType",
        call,
        count,
        {"type": "duration", "field": "id", "value": 1, "unit": "DAYS"},
    )
    days = {"type": "duration", "field": "due", "value": 2**31, "unit": "DAYS"}
    refused("InvalidDurationGroupByValue", call, count, days)
    few = by_owner | {"maxGroupCount": 1}
    refused("AggregationAccuracyNotSupported", call, count, few, accuracy="REQUIRE_ACCURATE")


def test_object_sets(ontologies: Any) -> None:
    sets = ontologies.OntologyObjectSet
    base = {"type": "base", "objectType": "Person"}
    ann = {"type": "filter", "objectSet": base, "where": eq("name", "ann")}
    tickets = {"type": "searchAround", "objectSet": ann, "link": "tickets"}
    every = {"type": "base", "objectType": "Ticket"}

    def load(object_set: Any) -> list[int]:
        return ids(sets.load("ontology", object_set=object_set, select=["id"]).data)

    assert load(tickets) == [1, 3]
    assert load({"type": "subtract", "objectSets": [every, tickets]}) == [2]
    assert load({"type": "intersect", "objectSets": [every, tickets]}) == [1, 3]
    assert load({"type": "union", "objectSets": [tickets, every]}) == [1, 3, 2]
    named = sets.create_temporary("ontology", object_set=tickets, preview=True).object_set_rid
    assert load({"type": "reference", "reference": named}) == [1, 3]
    rid = ontologies.OntologyObject.get("ontology", "Ticket", "2")["__rid"]
    assert load({"type": "static", "objects": [rid]}) == [2]
    count = [{"type": "count"}]
    assert aggregated(sets.aggregate, object_set=tickets, aggregation=count) == [(2.0,)]
    refused("UnsupportedObjectSet", load, {"type": "union", "objectSets": [every, base]})


def test_the_largest_groups_stay_where_there_are_too_many() -> None:
    """As the client documents `maxGroupCount`: the rest is excluded, and the answer approximate."""
    kind = ObjectType("T", "id", "id", None, {n: ValueType("integer") for n in ("id", "n", "m")})
    many = [{"id": n, "n": n, "m": n % 3} for n in range(MOST_GROUPS + 5)]
    by_id, by_m = {"type": "exact", "field": "n"}, {"type": "exact", "field": "m"}
    asked: dict[str, Any] = {"aggregation": [{"type": "count"}], "groupBy": [by_id]}
    found = aggregate(kind, many, asked)
    assert (len(found["data"]), found["excludedItems"]) == (MOST_GROUPS, 5)
    assert found["accuracy"] == "APPROXIMATE"
    fixed = {"type": "fixedWidth", "field": "n", "fixedWidth": 1}
    with pytest.raises(ApiError, match="AggregationGroupCountExceededLimit"):
        aggregate(kind, many, asked | {"groupBy": [fixed]})
    # 0 has the most objects of all, though no pair with it is the largest.
    few = [{"id": n, "n": n % 4, "m": 0} for n in range(6)]
    few += [{"id": 10 + n, "n": 9, "m": 1} for n in range(4)]
    first = by_m | {"maxGroupCount": 1}
    found = aggregate(kind, few, asked | {"groupBy": [first, by_id]})
    assert {row["group"]["m"] for row in found["data"]} == {0}
