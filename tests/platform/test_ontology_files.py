"""Files of the Ontology that say nothing, or too much: each ends in one message that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.platform.ontologies.edits import FILE
from foundry_cm.local.platform.ontologies.store import Ontology
from tests.conftest import REPOSITORY
from tests.platform.ontology import SCHEMA, write_ontology

HIRE = '[actions.hire]\nparameters = { name = "string", team = "string?" }\nedits = [{ %s }]\n'
TYPES = SCHEMA.partition("[actions")[0]
ONE_EACH = "Write one object in each line, and no list around them."


def refusal(root: Path, *, keep: bool = False) -> CmError:
    with pytest.raises(CmError) as caught:
        Ontology.read(root, keep=keep)
    assert caught.value.exit_code == USAGE
    return caught.value


@pytest.mark.parametrize(
    ("text", "what", "line", "fix"),
    [
        ("[objects]\na = b", "schema.toml is not TOML: ", 2, None),
        (
            "\ufeff[objects]",
            "schema.toml is not TOML: it begins with a byte order mark",
            None,
            "Save it as UTF-8 without a byte order mark (BOM).",
        ),
        ("[object.Ticket]", 'There is no key "object"', 1, 'Did you mean "objects"?'),
        (
            '[objects.Ticket]\nprimary_key = "id"',
            'There is no key "primary_key"',
            2,
            'Did you mean "primary-key"?',
        ),
        (
            '[objects.Ticket]\nproperties = { id = "string" }',
            "primary-key is missing",
            1,
            'Write, for example: primary-key = "id"',
        ),
        (
            '[objects.Ticket]\nprimary-key = "di"\nproperties = { id = "string" }',
            'There is no property "di"',
            2,
            "Known: id.",
        ),
        (
            '[objects.Ticket]\nprimary-key = "id"\n[objects.Ticket.properties]\nid = "str"',
            'There is no type "str"',
            4,
            'Did you mean "string"?',
        ),
        (
            '[objects.T]\nprimary-key = "id"\nproperties = { "" = 1 }',
            '"" has to be text, not a whole number',
            3,
            None,
        ),
        (
            '[objects."../x"]\nprimary-key = "id"\nproperties = { id = "string" }',
            '"../x" cannot be an API name',
            1,
            "Use up to 100 letters, digits and _, with a letter first.",
        ),
        (
            '[objects.T]\nprimary-key = "id"\nproperties = { id = "double" }',
            "A double cannot be a primary key",
            2,
            "It can be: string, boolean, byte, short, integer, long, date, timestamp.",
        ),
        (
            TYPES + HIRE % 'create = "Persn"',
            'There is no object type "Persn"',
            None,
            'Did you mean "Person"?',
        ),
        (
            TYPES + HIRE % 'create = "Person"',
            "A new Person needs its primary key, name",
            None,
            "Add it to set, values or unique.",
        ),
        (
            TYPES + HIRE % 'create = "Person", set = { name = "nmae" }',
            'There is no parameter "nmae"',
            None,
            'Did you mean "name"?',
        ),
        (
            TYPES + HIRE % 'create = "Person", set = { name = "name" }, values = { name = "x" }',
            "name is written twice",
            None,
            "Keep one of the two.",
        ),
        (
            TYPES + HIRE % 'create = "Person", delete = "x"',
            "An edit has one of create, modify, delete, link, unlink, and this one has create and delete",
            None,
            None,
        ),
        (
            TYPES + HIRE % 'link = "Ticket.assignee", from = "name", to = "team"',
            "Ticket.assignee is a link by Ticket.owner",
            None,
            "Modify that property.",
        ),
        (
            TYPES + HIRE % 'create = "Person", set = { name = "name" }, values = { since = "x" }',
            'since has to be a time with its zone, such as "2026-01-31T12:00:00Z"',
            None,
            None,
        ),
    ],
)
def test_schema_that_cannot_be_used(
    tmp_path: Path, text: str, what: str, line: int | None, fix: str | None
) -> None:
    write_ontology(tmp_path, {"schema.toml": text})
    error = refusal(tmp_path)
    assert (error.what[: len(what)], error.fix) == (what, fix)
    assert line is None or f"schema.toml:{line}" in str(error.where)


def test_the_schema_of_the_manual_is_one(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/ontology.md").read_text(encoding="utf-8")
    (tmp_path / "data/ontology").mkdir(parents=True)
    text = page.split("```toml\n")[1].partition("```")[0]
    (tmp_path / "data/ontology/schema.toml").write_text(text)
    ontology = Ontology.read(tmp_path)
    assert ontology and list(ontology.schema.actions) == ["close-ticket"]


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        (
            "{",
            "That line is not JSON: Expecting property name enclosed in double quotes, at character 2",
            None,
        ),
        ("[" * 100_000, "That line is not JSON: it is nested too deeply", None),
        ('{"id": 4, "id": 5}', 'That line is not JSON: it has the key "id" twice', None),
        ("[1]", "That line is no JSON object", ONE_EACH),
        ("]", "That line is not JSON: Expecting value, at character 1", ONE_EACH),
        ('{"id": 4, "stauts": "x"}', 'Ticket has no property "stauts"', 'Did you mean "status"?'),
        ('{"subject": "x"}', "id, the primary key, is missing", 'Write, for example: "id": ...'),
        ('{"id": 1}', "There is another Ticket with that primary key, in line 1", None),
        ('{"id": "4"}', "id has to be a whole number of 32 bits", None),
        ('{"id": 2147483648}', "id has to be a whole number of 32 bits", None),
        ('{"id": 4, "points": NaN}', "points has to be a number", None),
        ('{"id": 4, "points": 1e999}', "points has to be a number", None),
        ('{"id": 4, "tags": "x"}', "tags has to be a list, each item text", None),
        ('{"id": 4, "subject": "\\ud800"}', "subject has to be text", None),
        ('{"id": 4, "due": "2026-02-30"}', 'due has to be a date, such as "2026-01-31"', None),
        (
            '{"id": 4, "opened": "2026-01-31T12:00:00"}',
            'opened has to be a time with its zone, such as "2026-01-31T12:00:00Z"',
            None,
        ),
        ('{"id": 4, "cost": "1e999"}', 'cost has to be a decimal number, such as "2.50"', None),
        ('{"id": 4, "cost": "1e"}', 'cost has to be a decimal number, such as "2.50"', None),
        ('{"id": 4, "cost": "1_0"}', 'cost has to be a decimal number, such as "2.50"', None),
        (
            '{"id": 4, "place": {"type": "Point", "coordinates": [0, 91]}}',
            'place has to be a point, such as {"type": "Point", "coordinates": [8.5, 47.4]}',
            None,
        ),
    ],
)
def test_object_that_does_not_fit(tmp_path: Path, line: str, what: str, fix: str | None) -> None:
    write_ontology(tmp_path, {"Ticket.jsonl": f'{{"id": 1}}\n\n{line}\n'})
    error = refusal(tmp_path)
    assert (error.what, error.fix) == (what, fix)
    assert error.where == f"{tmp_path}/data/ontology/Ticket.jsonl:3"


def test_files_that_belong_to_nothing(tmp_path: Path) -> None:
    write_ontology(tmp_path, {"Tikcet.jsonl": "{}"})
    error = refusal(tmp_path)
    assert error.what.startswith("Tikcet.jsonl belongs to no object type")
    assert error.fix == 'Did you mean "Ticket"?'
    folder = tmp_path / "data" / "ontology"
    (folder / "Tikcet.jsonl").rename(folder / "Ticket.json")
    assert refusal(tmp_path).what == "Ticket.json is not read: cm reads Ticket.jsonl"
    (folder / "schema.toml").unlink()
    assert refusal(tmp_path).what == (
        "data/ontology/ has objects, and no schema.toml says of which types they are"
    )


def test_link_that_is_none(tmp_path: Path) -> None:
    write_ontology(tmp_path, {"Ticket.watchers.jsonl": '{"from": 1, "too": "ann"}'})
    error = refusal(tmp_path)
    assert (error.what, error.fix) == ('There is no key "too"', 'Did you mean "to"?')


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    write_ontology(tmp_path)
    (tmp_path / "data" / "ontology" / "Person.jsonl").write_bytes(b'{"name": "\xff"}')
    assert refusal(tmp_path).what == "Person.jsonl is not UTF-8 text"


def test_no_link_leads_out(tmp_path: Path) -> None:
    root, secret = tmp_path / "module", tmp_path / "secret"
    secret.write_text('{"name": "canary"}\n')
    write_ontology(root)
    for name in ("Person.jsonl", "schema.toml"):
        file = root / "data" / "ontology" / name
        text = file.read_text()
        file.unlink()
        file.symlink_to(secret)
        assert refusal(root).code == "Link"
        file.unlink()
        file.write_text(text)
    (root / "outputs").symlink_to(tmp_path)
    assert refusal(root).code == "Link"


def test_edits_stay_for_a_pipeline_alone(tmp_path: Path) -> None:
    write_ontology(tmp_path)
    file = tmp_path / FILE
    file.parent.mkdir(parents=True)
    line = '{"action": "x", "edits": [{"edit": "delete", "type": "Person", "key": "ann"}]}\n'
    # A run that was killed has not ended its last line.
    file.write_text(line + '{"action"')
    kept = Ontology.read(tmp_path, keep=True)
    assert kept and list(kept.objects(kept.object_type("Person"))) == ["bob", "cy"]
    assert file.read_text() == line
    fresh = Ontology.read(tmp_path)
    assert fresh and list(fresh.objects(fresh.object_type("Person"))) == ["ann", "bob", "cy"]
    assert not file.exists()


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        '{"edits": 1}',
        '{"edits": [{"edit": "create", "type": "Nobody", "key": "x"}]}',
        '{"edits": [{"edit": "link", "link": "Ticket.assignee", "from": 1, "to": "ann"}]}',
        '{"edits": [{"edit": "modify", "type": "Person", "key": "ann", "properties": {"age": 1}}]}',
        '{"edits": [{"edit": "modify", "type": "Person", "key": "ann", "properties": []}]}',
    ],
)
def test_edits_that_no_run_has_written(tmp_path: Path, line: str) -> None:
    write_ontology(tmp_path)
    file = tmp_path / FILE
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    error = refusal(tmp_path, keep=True)
    assert error.what == "outputs/ontology/edits.jsonl is not what cm has written for this schema"
    assert error.fix == "Begin again with: cm run --fresh"
