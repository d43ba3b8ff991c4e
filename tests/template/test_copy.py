"""What `copier copy` writes, and what it refuses to write."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from copier.errors import CopierError
from pytest_copie.plugin import Copie

from tests.conftest import REPOSITORY, Render

NESTED = {
    "text": "str",
    "tags": "list[str]",
    "weights": ["float"],
    "author": {"name": "str", "address": {"zip_code": "int"}},
    "lines": [{"sku": "str", "amount": "float", "open": "bool"}],
}


def test_defaults_render_the_layout_of_the_field_guide(search_module: Path) -> None:
    assert {"Dockerfile", "requirements.txt", "src/app.py", "events/search.json"} <= {
        str(path.relative_to(search_module)) for path in search_module.rglob("*")
    }


def test_copie_renders_the_default_answers(copie: Copie, template: Path) -> None:
    result = copie.copy(template_dir=template)
    assert (result.exit_code, result.exception) == (0, None)


def test_template_asks_for_no_trust() -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    assert not {"_tasks", "_jinja_extensions", "_migrations"} & config.keys()


def test_every_question_has_a_default_and_a_help() -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    questions = {name: value for name, value in config.items() if not name.startswith("_")}
    assert [name for name, question in questions.items() if "default" not in question] == []
    asked = {name: q for name, q in questions.items() if q.get("when") is not False}
    assert [name for name, question in asked.items() if not question.get("help")] == []


def test_file_names_are_legal_on_every_system() -> None:
    names = [path.name for path in (REPOSITORY / "template").rglob("*")]
    assert [name for name in names if set('"<>:|?*\\') & set(name)] == []


def test_module_name_follows_the_folder(render: Render, tmp_path: Path) -> None:
    module = render(tmp_path / "My Module 2")
    assert yaml.safe_load((module / ".copier-answers.yml").read_text())["module_name"] == "my-module-2"


def test_text_of_any_kind_is_quoted_where_it_lands(render: Render) -> None:
    nasty = "He said \"hi\" \\ 'x' é 😀: #1 {{ 7 * 7 }} {% raw %}"
    module = render(description=nasty, example="blank")
    assert nasty in (module / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load((module / ".copier-answers.yml").read_text())["description"] == nasty


@pytest.mark.parametrize("returns_list", [True, False])
def test_blank_renders_nested_records_and_an_event_that_fits(render: Render, returns_list: bool) -> None:
    module = render(
        example="blank",
        function_name="classify_text",
        payload_fields=NESTED,
        result_fields=NESTED | {"score": "float"},
        returns_list=returns_list,
    )
    tree = ast.parse((module / "src/app.py").read_text())
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes == [
        "ClassifyTextPayloadAuthorAddress",
        "ClassifyTextPayloadAuthor",
        "ClassifyTextPayloadLines",
        "ClassifyTextPayload",
        "ClassifyTextResultAuthorAddress",
        "ClassifyTextResultAuthor",
        "ClassifyTextResultLines",
        "ClassifyTextResult",
    ]
    event = json.loads((module / "events/classify_text.json").read_text())
    assert event == {
        "text": "some text",
        "tags": ["some text"],
        "weights": [0.5],
        "author": {"name": "some text", "address": {"zip_code": 1}},
        "lines": [{"sku": "some text", "amount": 0.5, "open": True}],
    }


REFUSED = [
    ({"module_name": "My Module"}, '"My Module" is not usable as an image name'),
    ({"module_name": "x" * 51}, "The name has 51 characters; use at most 50."),
    ({"description": "two\nlines"}, "Write one line."),
    ({"function_name": "Process"}, '"Process" is not a usable function name'),
    ({"function_name": "import"}, '"import" is a reserved word of Python: try "import_record".'),
    ({"function_name": "load"}, '"load" is used by src/app.py itself'),
    ({"payload_fields": "text"}, "payload_fields: give a YAML mapping of field to type"),
    ({"payload_fields": {}}, "payload_fields: name at least one field"),
    ({"payload_fields": {"2nd": "str"}}, 'payload_fields: "2nd" is not a usable field name'),
    ({"payload_fields": {"class": "str"}}, '"class" is a reserved word of Python: try "class_value"'),
    ({"payload_fields": {True: "str"}}, "YAML reads the field name true as a truth value"),
    ({"payload_fields": {"list": "str"}}, '"list" would hide the Python name'),
    ({"payload_fields": {"userId": "str", "user_id": "str"}}, 'two fields are called "user_id"'),
    ({"payload_fields": {"when": "datetime"}}, "Send dates and times as str in ISO form."),
    ({"payload_fields": {"when": "Optional[str]"}}, "use the plain type with a sentinel"),
    ({"payload_fields": {"more": "dict"}}, "use a list of records with key and value"),
    ({"payload_fields": {"more": "list"}}, "A list names the type of its items"),
    ({"payload_fields": {"more": {"deep": "any"}}}, "payload_fields.more.deep"),
    ({"payload_fields": {"more": [{}]}}, "payload_fields.more: name at least one field"),
    ({"payload_fields": {"more": None}}, "payload_fields.more: give a type"),
    ({"payload_fields": {"image": "bytes"}}, "Pass a reference"),
    ({"payload_fields": "{a: str, a: int}"}, "payload_fields: a field name is given twice"),
    ({"result_fields": {"score": "numpy.float32"}}, 'result_fields.score: "numpy.float32"'),
    ({"python_version": "3.9"}, "3.9"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_bad_answer_is_refused_with_its_reason(render: Render, answers: dict, reason: str) -> None:
    with pytest.raises((ValueError, CopierError)) as refused:
        render(example="blank", **answers)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value).strip()


PINS = [
    ("gh:org/repo", "v1.2.0", "git+https://github.com/org/repo@v1.2.0"),
    ("gh:org/repo.git", "v1.2.0-3-gabc", "git+https://github.com/org/repo.git@HASH"),
    ("gl:org/repo", "v1.2.0rc1", "git+https://gitlab.com/org/repo@v1.2.0rc1"),
    ("https://git.example.com/org/repo.git", "v2.0", "git+https://git.example.com/org/repo.git@v2.0"),
    ("https://me:secret@git.example.com/r.git", "v2.0", "git+https://git.example.com/r.git@v2.0"),
    ("git+https://git.example.com/r", "v2.0", "git+https://git.example.com/r@v2.0"),
    ("git@git.example.com:org/repo.git", "v2.0", "git+ssh://git@git.example.com/org/repo.git@v2.0"),
    ("ssh://git@git.example.com/r.git", "v2.0", "git+ssh://git@git.example.com/r.git@v2.0"),
    ("/srv/template.git", "v2.0", "git+file:///srv/template.git@v2.0"),
    ("/srv/my template", "abc1234", "file:///srv/my%20template"),
]


@pytest.mark.parametrize(("source", "version", "pin"), PINS)
def test_tool_is_pinned_to_where_the_template_came_from(source: str, version: str, pin: str) -> None:
    assert _pin(source, version, "HASH") == pin


def test_template_without_git_is_pinned_by_its_folder() -> None:
    assert _pin("/srv/template", None, None) == "file:///srv/template"


def _pin(source: str, version: str | None, commit: str | None) -> str:
    from copier._main import Worker

    with Worker(src_path=str(REPOSITORY), quiet=True, vcs_ref="HEAD") as worker:
        macro = worker.jinja_env.from_string(
            "{% from 'partials/pin.jinja' import pin %}{{ pin(source, version, commit) }}"
        )
        return macro.render(source=source, version=version, commit=commit).strip()


def test_copy_with_default_answers_works_in_a_terminal(template: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", str(template), str(tmp_path / "my-module")],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cm serve" in done.stderr
    assert (tmp_path / "my-module/src/app.py").is_file()


def test_template_without_git_renders(template: Path, tmp_path: Path) -> None:
    import shutil

    plain = shutil.copytree(template, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
    run_copy(str(plain), tmp_path / "module", defaults=True, quiet=True)
    pin = (tmp_path / "module/requirements-dev.txt").read_text()
    assert f"foundry-cm @ file://{plain}" in pin


def test_readme_names_every_question() -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    asked = {name for name, q in config.items() if not name.startswith("_") and q.get("when") is not False}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert {name for name in asked if f"`{name}`" not in readme} == set()
