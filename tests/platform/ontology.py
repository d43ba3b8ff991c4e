"""An Ontology in plain files, and the official client against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foundry_sdk import PalantirRPCException
from foundry_sdk.v2.core import errors as core_errors
from foundry_sdk.v2.ontologies import errors
from pydantic import TypeAdapter

from tests.platforms import LocalPlatform

SCHEMA = """
[objects.Ticket]
primary-key = "id"
title = "subject"
links = { assignee = { to = "Person", foreign-key = "owner", reverse = "tickets" }, watchers = { to = "Person", reverse = "watched" } }

[objects.Ticket.properties]
id = "integer"
subject = "string"
status = "string"
owner = "string"
points = "double"
due = "date"
opened = "timestamp"
cost = "decimal"
views = "long"
tags = "list[string]"
done = "boolean"
place = "geopoint"

[objects.Person]
primary-key = "name"
properties = { name = "string", team = "string", badge = "string", since = "timestamp" }

[actions.close-ticket]
description = "Closes a ticket."
parameters = { ticket = "Ticket", points = "double?" }
edits = [{ modify = "ticket", set = { points = "points" }, values = { status = "closed", done = true }, now = ["opened"] }]

[actions.hire]
parameters = { name = "string", team = "string?" }
edits = [{ create = "Person", set = { name = "name", team = "team" }, unique = ["badge"] }]

[actions.remove-ticket]
parameters = { ticket = "Ticket" }
edits = [{ delete = "ticket" }]

[actions.watch]
parameters = { ticket = "Ticket", person = "Person" }
edits = [{ link = "Ticket.watchers", from = "ticket", to = "person" }]

[actions.unwatch]
parameters = { ticket = "Ticket", person = "Person" }
edits = [{ unlink = "Ticket.watchers", from = "ticket", to = "person" }]
"""
TICKETS = """
{"id": 1, "subject": "Printer on fire", "status": "open", "owner": "ann", "points": 3, "due": "2026-03-01", "opened": "2026-01-31T12:00:00+01:00", "cost": "2.50", "views": 9007199254740993, "tags": ["hot", "paper"], "done": false}
{"id": 2, "subject": "No toner", "status": "open", "owner": "bob", "points": 1.5, "due": null}
{"id": 3, "subject": "Paper jam again", "status": "closed", "owner": "ann", "done": true, "due": "2026-03-31", "tags": ["paper"]}
"""
PEOPLE = '{"name": "ann", "team": "it"}\n{"name": "bob", "team": "it"}\n{"name": "cy"}\n'
WATCHERS = '{"from": 1, "to": "bob"}\n{"from": 1, "to": "cy"}\n'
FILES = {
    "schema.toml": SCHEMA,
    "Ticket.jsonl": TICKETS,
    "Person.jsonl": PEOPLE,
    "Ticket.watchers.jsonl": WATCHERS,
}


def write_ontology(root: Path, files: dict[str, str] | None = None) -> None:
    """The files above, and those that are given, below `data/ontology/`."""
    folder = root / "data" / "ontology"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (FILES | (files or {})).items():
        (folder / name).write_text(text, encoding="utf-8")


def client(running: LocalPlatform, patched: pytest.MonkeyPatch) -> Any:
    """`client.ontologies` of the official client, with the token of a module."""
    for name in ("BUILD2_TOKEN", "FOUNDRY_SERVICE_DISCOVERY_V2"):
        patched.setenv(name, running.environment[name])
    patched.setenv("FOUNDRY_HOSTNAME", running.host)
    return running.client().ontologies


def refused(name: str, call: Callable[..., Any], /, *given: Any, **asked: Any) -> dict[str, Any]:
    """The parameters of an error of that name, which are those that the client declares for it."""
    with pytest.raises(PalantirRPCException) as caught:
        list(call(*given, **asked))
    error = caught.value
    known = errors if hasattr(errors, name) else core_errors
    assert (error.name, type(error).__name__) == (name, getattr(known, name).__bases__[0].__name__)
    TypeAdapter(getattr(known, f"{name}Parameters")).validate_python(error.parameters)
    return dict(error.parameters or {})


def ids(objects: Any) -> list[int]:
    return [each["id"] for each in objects]
