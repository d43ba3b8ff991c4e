"""Actions of the Ontology, applied by the unmodified official client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foundry_sdk import ConfidentialClientAuth, Config, FoundryClient, PalantirRPCException

from tests.platform.ontology import client, ids, refused, write_ontology
from tests.platforms import LocalPlatform, running_platform


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LocalPlatform]:
    write_ontology(tmp_path)
    with running_platform(tmp_path, [], getattr(request, "param", ())) as running:
        yield running


@pytest.fixture
def ontologies(running: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    return client(running, monkeypatch)


def get(ontologies: Any, *key: str) -> dict[str, Any]:
    return dict(ontologies.OntologyObject.get("ontology", *key))


def test_action_types_are_described(ontologies: Any) -> None:
    found = {each.api_name: each for each in ontologies.Ontology.ActionType.list("ontology")}
    assert list(found) == ["close-ticket", "hire", "remove-ticket", "watch", "unwatch"]
    action = ontologies.Ontology.ActionType.get("ontology", "close-ticket")
    types = {name: (each.data_type.type, each.required) for name, each in action.parameters.items()}
    assert types == {"ticket": ("object", True), "points": ("double", False)}
    assert action.operations[0].object_type_api_name == "Ticket"
    assert found["watch"].operations[0].link_type_api_name_bto_a == "watched"


def test_actions_edit_objects_and_links(ontologies: Any, running: LocalPlatform) -> None:
    def apply(action: str, **parameters: Any) -> Any:
        return ontologies.Action.apply("ontology", action, parameters=parameters)

    assert apply("close-ticket", ticket=1, points="5").validation.result == "VALID"
    closed = get(ontologies, "Ticket", "1")
    assert (closed["status"], closed["points"], closed["done"]) == ("closed", 5.0, True)
    apply("close-ticket", ticket=1)
    assert get(ontologies, "Ticket", "1")["points"] == 5.0
    apply("close-ticket", ticket=1, points=None)
    assert "points" not in get(ontologies, "Ticket", "1")
    apply("hire", name="dee", team="it")
    assert get(ontologies, "Person", "dee")["badge"]
    apply("watch", ticket=2, person="dee")
    linked = ontologies.LinkedObject.list_linked_objects
    assert ids(linked("ontology", "Person", "dee", "watched")) == [2]
    apply("unwatch", ticket=1, person="cy")
    assert [each["name"] for each in linked("ontology", "Ticket", "1", "watchers")] == ["bob"]
    apply("remove-ticket", ticket=3)
    refused("ObjectNotFound", ontologies.OntologyObject.get, "ontology", "Ticket", "3")
    assert ids(ontologies.OntologyObject.list("ontology", "Ticket")) == [1, 2]


def test_a_person_sees_what_happened_and_data_stays(
    ontologies: Any, running: LocalPlatform
) -> None:
    before = (running.root / "data" / "ontology" / "Person.jsonl").read_bytes()
    ontologies.Action.apply("ontology", "hire", parameters={"name": "dee"})
    (line,) = (running.root / "outputs" / "ontology" / "edits.jsonl").read_text().splitlines()
    # What is made up is the same in each run.
    badge = "e33ccf53-33de-5a08-ba6d-f7c1ec678ba0"
    assert json.loads(line) == {
        "action": "hire",
        "parameters": {"name": "dee"},
        "edits": [
            {
                "edit": "create",
                "type": "Person",
                "key": "dee",
                "properties": {"name": "dee", "badge": badge},
            }
        ],
    }
    assert (running.root / "data" / "ontology" / "Person.jsonl").read_bytes() == before


def test_edits_are_returned_where_they_are_asked_for(ontologies: Any) -> None:
    def edits(action: str, mode: str, **parameters: Any) -> Any:
        options = {"returnEdits": mode}
        found = ontologies.Action.apply("ontology", action, parameters=parameters, options=options)
        return [(each.type, getattr(each, "primary_key", "")) for each in found.edits.edits]

    assert edits("close-ticket", "ALL", ticket=1) == [("modifyObject", 1)]
    assert edits("watch", "ALL", ticket=2, person="cy") == [("addLink", "")]
    assert edits("remove-ticket", "ALL", ticket=3) == []
    assert edits("remove-ticket", "ALL_V2_WITH_DELETIONS", ticket=2) == [("deleteObject", 2)]


def test_validation_applies_nothing(ontologies: Any) -> None:
    def validation(options: Any = None, **parameters: Any) -> Any:
        return ontologies.Action.apply(
            "ontology", "hire", parameters=parameters, options=options
        ).validation

    only = {"mode": "VALIDATE_ONLY"}
    assert validation(only, name="dee").result == "VALID"
    missing = validation(team="it")
    assert (missing.result, missing.parameters["name"].result) == ("INVALID", "INVALID")
    assert missing.parameters["team"].result == "VALID"
    assert len(list(ontologies.OntologyObject.list("ontology", "Person"))) == 3
    both = only | {"returnEdits": "ALL"}
    refused("InvalidApplyActionOptionCombination", validation, both, name="dee")


def test_parameters_that_do_not_fit_are_refused(ontologies: Any) -> None:
    def apply(action: str, **parameters: Any) -> Any:
        return ontologies.Action.apply("ontology", action, parameters=parameters)

    refused("ActionTypeNotFound", apply, "fire")
    told = refused("ParametersNotFound", apply, "hire", nmae="dee")
    assert told["configuredParameterIds"] == ["name", "team"]
    told = refused("InvalidParameterValue", apply, "close-ticket", ticket=1, points="many")
    assert (told["parameterId"], told["parameterBaseType"]) == ("points", "Double")
    refused("InvalidParameterValue", apply, "close-ticket", ticket="one")
    told = refused("ParameterObjectNotFound", apply, "close-ticket", ticket=9)
    assert told["primaryKey"] == {"id": 9}
    refused("ObjectAlreadyExists", apply, "hire", name="ann")
    refused("LinkAlreadyExists", apply, "watch", ticket=1, person="bob")


def test_batch_is_applied_as_a_whole(ontologies: Any) -> None:
    def batch(*parameters: dict[str, Any], **asked: Any) -> Any:
        requests = [{"parameters": each} for each in parameters]
        return ontologies.Action.apply_batch("ontology", "hire", requests=requests, **asked)

    def people() -> int:
        return int(ontologies.OntologyObject.count("ontology", "Person", preview=True).count)

    refused("ObjectAlreadyExists", batch, {"name": "dee"}, {"name": "ann"})
    refused("ActionContainsDuplicateEdits", batch, {"name": "dee"}, {"name": "dee"})
    refused("ActionValidationFailed", batch, {"name": "dee"}, {})
    assert people() == 3
    found = batch({"name": "dee"}, {"name": "eve"}, options={"returnEdits": "ALL"})
    assert (found.edits.added_object_count, people()) == (2, 5)


def test_token_does_what_its_scopes_say(
    running: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(running, monkeypatch)
    keys = running.environment["CLIENT_ID"], running.environment["CLIENT_SECRET"]

    def listed(*scopes: str) -> Any:
        auth = ConfidentialClientAuth(*keys, scopes=list(scopes) or None)
        config = Config(verify=str(running.ca))
        return FoundryClient(auth=auth, config=config).ontologies

    assert ids(listed().OntologyObject.list("ontology", "Ticket")) == [1, 2, 3]
    reader = listed("api:ontologies-read")
    assert get(reader, "Ticket", "1")["id"] == 1
    hire = {"parameters": {"name": "dee"}}
    denied = refused("ApiUsageDenied", reader.Action.apply, "ontology", "hire", **hire)
    assert denied == {"missingScope": "api:ontologies-write"}
    denied = refused("ApiUsageDenied", listed("api:datasets-read").Ontology.list)
    assert denied == {"missingScope": "api:ontologies-read"}


@pytest.mark.parametrize("running", [["503@apply", "reset@after-apply#2"]], indirect=True)
def test_faults_strike_an_action(running: LocalPlatform, ontologies: Any) -> None:
    ontologies.Action.apply("ontology", "hire", parameters={"name": "dee"})
    assert running.faults.struck == ["503@before-apply"]


def test_file_that_a_person_changes_is_read_again(running: LocalPlatform, ontologies: Any) -> None:
    file = running.root / "data" / "ontology" / "Person.jsonl"
    ontologies.Action.apply("ontology", "hire", parameters={"name": "dee"})
    file.write_text('{"name": "zoe"}\n')
    people = ontologies.OntologyObject.list
    assert [each["name"] for each in people("ontology", "Person")] == ["zoe", "dee"]
    file.write_text('{"name": "zoe"}\n{"nmae": "x"}\n')
    with pytest.raises(PalantirRPCException) as caught:
        list(people("ontology", "Person"))
    assert caught.value.name == "MalformedObject"
    assert str(caught.value).count("Person.jsonl:2")
