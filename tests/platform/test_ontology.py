"""The Ontology, read and edited by the unmodified official client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from foundry_sdk import PalantirRPCException
from foundry_sdk.v2.ontologies import errors
from pydantic import TypeAdapter

from tests.platforms import LocalPlatform, running_platform

SCHEMA = """
[objects.Ticket]
primary-key = "id"
title = "subject"
properties = { id = "integer", subject = "string", status = "string", owner = "string", points = "double", due = "date", opened = "timestamp", cost = "decimal", views = "long", tags = "list[string]", done = "boolean" }
links = { assignee = { to = "Person", foreign-key = "owner", reverse = "tickets" }, watchers = { to = "Person", reverse = "watched" } }

[objects.Person]
primary-key = "name"
properties = { name = "string", team = "string" }
"""
TICKETS = """
{"id": 1, "subject": "Printer on fire", "status": "open", "owner": "ann", "points": 3, "due": "2026-03-01", "opened": "2026-01-31T12:00:00+01:00", "cost": "2.50", "views": 9007199254740993, "tags": ["hot", "paper"], "done": false}
{"id": 2, "subject": "No toner", "status": "open", "owner": "bob", "points": 1.5, "due": null}
{"id": 3, "subject": "Paper jam again", "status": "closed", "owner": "ann", "done": true, "tags": ["paper"]}
"""
PEOPLE = '{"name": "ann", "team": "it"}\n{"name": "bob", "team": "it"}\n{"name": "cy"}\n'
WATCHERS = '{"from": 1, "to": "bob"}\n{"from": 1, "to": "cy"}\n'


def write_ontology(root: Path, **files: str) -> None:
    """The files above, and those that are given, below `data/ontology/`."""
    folder = root / "data" / "ontology"
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "schema.toml": SCHEMA,
        "Ticket.jsonl": TICKETS,
        "Person.jsonl": PEOPLE,
        "Ticket.watchers.jsonl": WATCHERS,
    }
    for name, text in (told | files).items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ontology")
    write_ontology(folder)
    return folder


@pytest.fixture(scope="module")
def ontologies(root: Path) -> Iterator[Any]:
    """`client.ontologies` of the official client against a platform that is not edited."""
    with pytest.MonkeyPatch.context() as patched, running_platform(root, []) as running:
        yield client(running, patched).ontologies


def client(running: LocalPlatform, patched: pytest.MonkeyPatch) -> Any:
    for name in ("BUILD2_TOKEN", "FOUNDRY_SERVICE_DISCOVERY_V2"):
        patched.setenv(name, running.environment[name])
    patched.setenv("FOUNDRY_HOSTNAME", running.host)
    return running.client()


def refused(name: str, call: Callable[..., Any], *given: Any, **asked: Any) -> dict[str, Any]:
    """The parameters of an error of that name, which are those that the client declares for it."""
    with pytest.raises(PalantirRPCException) as caught:
        list(call(*given, **asked))
    error = caught.value
    assert (error.name, type(error).__name__) == (name, getattr(errors, name).__bases__[0].__name__)
    TypeAdapter(getattr(errors, f"{name}Parameters")).validate_python(error.parameters)
    return error.parameters


def ids(objects: Any) -> list[int]:
    return [each["id"] for each in objects]


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
    refused("DuplicateOrderBy", listed, "ontology", "Ticket", order_by="p.id,p.id")
