"""Modules that look objects up and apply actions: with application permissions, and as a pipeline."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from foundry_cm.cli.serve import _show_banner
from foundry_cm.local.panel.access import serve
from foundry_cm.local.panel.functions import functions_app
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.local.platform.access import Tokens
from foundry_cm.testing import CallFailed, Foundry, Pipeline
from tests.cli.conftest import cm
from tests.conftest import REPOSITORY, Render
from tests.platform.ontology import write_ontology

APP = """
from dataclasses import dataclass

from cmkit import CallerError, function, start
from cmkit.platform import platform
from compute_modules.context import QueryContext
from foundry_sdk import NotFoundError


@dataclass
class Payload:
    ticket: int


@dataclass
class Result:
    subject: str
    status: str
    watchers: list[str]


@function
def close(context: QueryContext, event: Payload) -> Result:
    ontologies, key = platform().ontologies, str(event.ticket)
    try:
        ticket = ontologies.OntologyObject.get("ontology", "Ticket", key)
    except NotFoundError as error:
        raise CallerError(f"There is no ticket {key}") from error
    if ticket["status"] != "closed":
        parameters = {"ticket": event.ticket}
        ontologies.Action.apply("ontology", "close-ticket", parameters=parameters)
    after = ontologies.OntologyObject.get("ontology", "Ticket", key)
    linked = ontologies.LinkedObject.list_linked_objects("ontology", "Ticket", key, "watchers")
    return Result(str(ticket["subject"]), str(after["status"]), [str(p["name"]) for p in linked])


if __name__ == "__main__":
    start()
"""
PIPELINE = """
import os
from foundry_sdk import Config, FoundryClient
from foundry_sdk._core import ComputeModulePipelineAuth

os.environ["FOUNDRY_HOSTNAME"] = os.environ["FOUNDRY_URL"]
config = Config(verify=os.environ["DEFAULT_CA_PATH"])
ontologies = FoundryClient(auth=ComputeModulePipelineAuth(), config=config).ontologies
for ticket in ontologies.OntologyObject.list("ontology", "Ticket"):
    if ticket["status"] == "open":
        parameters = {"ticket": ticket["id"]}
        ontologies.Action.apply("ontology", "close-ticket", parameters=parameters)
        break
"""


@pytest.fixture(scope="module")
def module(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = render(
        tmp_path_factory.mktemp("ontology") / "module", example="blank", permissions="application"
    )
    (folder / "src/app.py").write_text(APP)
    write_ontology(folder)
    return folder


def status(foundry: Foundry | Pipeline) -> list[str]:
    return [each["status"] for each in foundry.objects("Ticket")]


def test_module_looks_up_an_object_and_applies_an_action(module: Path) -> None:
    with Foundry(module, [sys.executable, "src/app.py"], replicas=2) as foundry:
        closed = {"subject": "Printer on fire", "status": "closed", "watchers": ["bob", "cy"]}
        for _ in range(2):
            assert foundry.call("close", {"ticket": 1}) == closed
        with pytest.raises(CallFailed, match="There is no ticket 9"):
            foundry.call("close", {"ticket": 9})
        assert status(foundry) == ["closed", "open", "closed"]
        assert len((module / "outputs/ontology/edits.jsonl").read_text().splitlines()) == 1
        foundry.forget_edits()
        assert status(foundry) == ["open", "open", "closed"]
        with pytest.raises(LookupError, match='"Tikcet". Did you mean "Ticket"?'):
            foundry.objects("Tikcet")
        assert foundry.call("close", {"ticket": 1}) == closed
        assert asyncio.run(data_of(foundry)) == {
            "name": "ontology",
            "rid": "ri.ontology.main.ontology.00000000-0000-0000-0000-000000000001",
            "objects": {"Ticket": 3, "Person": 3},
            "actions": ["close-ticket", "hire", "remove-ticket", "watch", "unwatch"],
        }
    # What a run has edited is not there in the next one.
    with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
        assert status(foundry) == ["open", "open", "closed"]


def test_the_page_of_the_ontology_runs_as_it_is_written(module: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(module, tmp_path / "module", ignore=lambda *_: ["data", "outputs"])
    page = (REPOSITORY / "docs/ontology.md").read_text(encoding="utf-8")
    schema, tickets, people, app, test = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)
    (folder / "src/app.py").write_text(app)
    write_ontology(
        folder,
        {
            "schema.toml": schema,
            "Ticket.jsonl": tickets,
            "Person.jsonl": people,
            "Ticket.watchers.jsonl": "",
        },
    )
    names: dict[str, Any] = {}
    exec(test, names)
    with Foundry(folder, [sys.executable, "src/app.py"]) as foundry:
        names["test_closing_a_ticket"](foundry)
        assert status(foundry) == ["open", "open"]
    done = cm(folder, "call", "close", "--json", '{"ticket": 1}')
    assert json.loads(done.stdout) == {"subject": "Printer on fire"}
    assert "1 action on the Ontology: outputs/ontology/edits.jsonl" in done.stderr


def test_nothing_of_objects_or_tokens_is_printed(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def share(tokens: Tokens) -> dict[str, str]:
        tokens.scratch = "canary-scratch"
        return {"SCRATCH_TOKEN": "canary-scratch"}

    monkeypatch.setattr(Tokens, "share", share)
    people = module / "data/ontology/Person.jsonl"
    people.write_text('{"name": "canary-object"}\n{"name": "ann", "team": "canary-property"}\n')
    tickets = module / "data/ontology/Ticket.jsonl"
    before = tickets.read_text()
    with Foundry(module, [sys.executable, "src/app.py"], scratch=True) as foundry:
        _show_banner(foundry.local, "http://panel")
        tickets.write_text(before + '{"id": 4, "points": "canary-value"}\n')
        with pytest.raises(CallFailed, match="close failed on job") as failed:
            foundry.call("close", {"ticket": 1})
        assert "MalformedObject" in foundry.output
        tickets.write_text(before)
        told = [foundry.output, str(failed.value), *capsys.readouterr()]
        told.append(repr(asyncio.run(data_of(foundry))))
        assert foundry.call("close", {"ticket": 1})["status"] == "closed"
    write_ontology(module)
    assert "Person (2)" in told[-2]
    assert [text for text in told if "canary" in text] == []


async def data_of(foundry: Foundry) -> object:
    """The Ontology as the panel of `cm serve` tells of it."""
    recorder = Recorder(foundry.local.settings.folder)
    runner, address = await serve(functions_app(foundry.local, recorder), 0)
    async with aiohttp.ClientSession() as session, session.get(f"{address}/api/data") as answer:
        found = await answer.json()
    await runner.cleanup()
    return found["ontology"]


def test_edits_of_a_pipeline_stay_from_run_to_run(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text(PIPELINE)
    (tmp_path / "src/resources.json").write_text('{"inputs": {"new": "dataset"}, "outputs": {}}')
    (tmp_path / "data/new").mkdir(parents=True)
    write_ontology(tmp_path)
    pipeline = Pipeline(tmp_path, tmp_path)
    pipeline.run()
    assert status(pipeline) == ["closed", "open", "closed"]
    done = cm(tmp_path, "run")
    assert "1 action on the Ontology: outputs/ontology/edits.jsonl" in done.stderr
    assert status(pipeline) == ["closed", "closed", "closed"]
    fresh = cm(tmp_path, "run", "--fresh", "--format", "json")
    assert json.loads(fresh.stdout)["actions"] == 1
    assert status(pipeline) == ["closed", "open", "closed"]
