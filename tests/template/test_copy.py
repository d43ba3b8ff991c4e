"""What `copier copy` writes, and what it refuses to write."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy
from copier.errors import CopierError
from pytest_copie.plugin import Copie

from tests.conftest import REPOSITORY, Render, commit
from tests.interpreters import interpreter

NESTED = (
    "{text: str, tags: list[str], weights: list[float], author: {name: str, address: {zip_code: int}}, "
    "lines: list[{sku: str, amount: float, open: bool}]}"
)


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
    assert (
        yaml.safe_load((module / ".copier-answers.yml").read_text())["module_name"] == "my-module-2"
    )


def test_text_of_any_kind_is_quoted_where_it_lands(render: Render) -> None:
    nasty = "He said \"hi\" \\ 'x' é 😀: #1 {{ 7 * 7 }} {% raw %}"
    module = render(description=nasty, example="blank")
    assert nasty in (module / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load((module / ".copier-answers.yml").read_text())["description"] == nasty


@pytest.mark.parametrize("returns_list", [True, False])
def test_blank_renders_nested_records_and_an_event_that_fits(
    render: Render, returns_list: bool
) -> None:
    module = render(
        example="blank",
        function_name="classify_text",
        payload_fields=NESTED,
        result_fields=NESTED.replace("}]}", "}], score: float}"),
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
    ({"module_name": "My Module"}, "Use a-z, 0-9 and hyphens, such as parts-search"),
    ({"module_name": "x" * 51}, "Use at most 50 characters, not 51."),
    ({"description": "two\nlines"}, "Write one line."),
    ({"function_name": "Process"}, 'Use a-z, 0-9 and _, such as classify_image, not "Process".'),
    ({"function_name": "import"}, 'Try import_record: "import" is reserved in Python.'),
    ({"function_name": "load"}, 'Try load_record: src/app.py itself uses "load".'),
    ({"function_name": "l"}, 'Use a longer name: "l" looks like a digit.'),
    ({"function_name": "process\n"}, 'such as classify_image, not "process\\n".'),
    ({"function_name": "x" * 41}, "Use at most 40 characters, not 41."),
    ({"payload_fields": ""}, 'Write "{", such as {text: str, limit: int}.'),
    ({"payload_fields": "text: str"}, 'Write "{" before "text", such as {text: str, limit: int}.'),
    ({"payload_fields": "[str]"}, 'Write "{" before "[", such as {text: str, limit: int}.'),
    ({"payload_fields": "{}"}, "Name a field, such as {text: str}"),
    ({"payload_fields": "{text str}"}, 'Write ":" before "str", such as'),
    ({"payload_fields": "{text: }"}, 'Write a value before "}", such as'),
    ({"payload_fields": "{text: str"}, 'Write "}" at the end, such as'),
    ({"payload_fields": "{a: str b: str}"}, 'Write "," before "b", such as'),
    ({"payload_fields": "{a: str}, b"}, 'Leave out "," after the end, such as'),
    ({"payload_fields": "{2nd: str}"}, "2nd: use letters, digits and _, such as record_id."),
    ({"payload_fields": "{class: str}"}, "class: try class_value, it is reserved in Python."),
    ({"payload_fields": "{list: str}"}, "list: try list_value, it is a name of Python's own."),
    ({"payload_fields": "{l: str}"}, "l: use a longer name, it looks like a digit."),
    ({"payload_fields": "{userId: str, user_id: str}"}, "user_id: use another name"),
    ({"payload_fields": "{a: str, a: int}"}, 'Give "a" once in a record, not twice.'),
    ({"payload_fields": "{when: datetime}"}, "when: use str (ISO text), not datetime."),
    ({"payload_fields": "{a: Optional[list[int]]}"}, 'a: no Optional: use a sentinel, "" or -1.0'),
    ({"payload_fields": "{a: int | None}"}, 'a: no Optional: use a sentinel, "" or -1.0'),
    ({"payload_fields": "{more: dict[str, int]}"}, "more: write out {field: type}"),
    ({"payload_fields": "{more: list}"}, "more: use list[str] or the like, not list"),
    ({"payload_fields": "{more: list[]}"}, "more: use list[str] or the like, not list"),
    ({"payload_fields": "{more: list[list[int]]}"}, "more: use list[str] or the like, not list"),
    ({"payload_fields": "{more: [str]}"}, "Write list[str] or list[{...}] for a list, not [...]."),
    ({"payload_fields": "{more: {deep: any}}"}, "more.deep: write out {field: type}"),
    ({"payload_fields": "{more: list[{}]}"}, "more: name a field"),
    ({"payload_fields": "{more: null}"}, "more: use str, int, float, bool, list[str]"),
    ({"payload_fields": "{image: bytes}"}, "image: use str, a reference"),
    (
        {"payload_fields": "{order: {line: {a: str}}, order_line: {b: str}}"},
        "order_line: use another",
    ),
    (
        {"payload_fields": f"{{{'a' * 40}: {{{'b' * 40}: {{c: str}}}}}}"},
        f"{'a' * 40}.{'b' * 40}: use shorter names",
    ),
    (
        {"payload_fields": {"text": "str"}, "result_fields": "{score: numpy.float32}"},
        "score: use str",
    ),
    ({"python_version": "3.9"}, "3.9"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_bad_answer_is_refused_with_its_reason(
    render: Render, answers: dict[str, Any], reason: str
) -> None:
    with pytest.raises((ValueError, CopierError)) as refused:
        render(example="blank", **answers)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value).strip()


PINS = [
    ("gh:org/repo", "v1.2.0", "git+https://github.com/org/repo@v1.2.0"),
    ("gh:org/repo.git", "v1.2.0-3-gabc", "git+https://github.com/org/repo.git@HASH"),
    ("gl:org/repo", "v1.2.0rc1", "git+https://gitlab.com/org/repo@v1.2.0rc1"),
    (
        "https://git.example.com/org/repo.git",
        "v2.0",
        "git+https://git.example.com/org/repo.git@v2.0",
    ),
    ("https://me:secret@git.example.com/r.git", "v2.0", "git+https://git.example.com/r.git@v2.0"),
    ("git+https://git.example.com/r", "v2.0", "git+https://git.example.com/r@v2.0"),
    ("git@git.example.com:org/repo.git", "v2.0", "git+ssh://git@git.example.com/org/repo.git@v2.0"),
    ("ssh://git@git.example.com/r.git", "v2.0", "git+ssh://git@git.example.com/r.git@v2.0"),
    ("/srv/template.git", "v2.0", "git+file:///srv/template.git@v2.0"),
    ("/srv/my template", "abc1234", "file:///srv/my%20template"),
]


@pytest.mark.parametrize(("source", "version", "pin"), PINS)
def test_tool_is_pinned_to_where_the_template_came_from(
    source: str, version: str, pin: str
) -> None:
    assert _pin(source, version, "HASH") == pin


def test_relative_path_to_the_template_is_one_that_an_update_can_read(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "template").symlink_to(template)
    (tmp_path / "inside").mkdir()
    # From elsewhere the path is made whole; from the module's own folder it holds for everyone.
    cases = ((".", "./template", "m", str(template)), ("inside", "../template", ".", "../template"))
    for start, source, target, written in cases:
        monkeypatch.chdir(tmp_path / start)
        run_copy(source, target, defaults=True, quiet=True)
        answers = yaml.safe_load(Path(target, ".copier-answers.yml").read_text())
        assert answers["_src_path"] == written


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
        [
            sys.executable,
            "-m",
            "copier",
            "copy",
            "--defaults",
            str(template),
            str(tmp_path / "my-module"),
        ],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cm serve" in done.stderr
    assert (tmp_path / "my-module/src/app.py").is_file()


@pytest.mark.slow
def test_oldest_copier_that_is_admitted_copies_and_updates(template: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    python = interpreter("3.11", f"copier=={config['_min_copier_version']}")
    module = tmp_path / "module"

    def copier(*args: str) -> None:
        done = subprocess.run([python, "-m", "copier", *args], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr

    copier("copy", "--defaults", str(template), str(module))
    commit(module, "as rendered")
    copier("update", "--defaults", "-d", "multi_stage=true", str(module))
    assert "AS build" in (module / "Dockerfile").read_text()


def test_template_without_git_renders(template: Path, tmp_path: Path) -> None:
    import shutil

    plain = shutil.copytree(template, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
    run_copy(str(plain), tmp_path / "module", defaults=True, quiet=True)
    pin = (tmp_path / "module/requirements-dev.txt").read_text()
    assert f"foundry-cm @ file://{plain}" in pin


def test_readme_names_every_question() -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    asked = {
        name
        for name, q in config.items()
        if not name.startswith("_") and q.get("when") is not False
    }
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert {name for name in asked if f"`{name}`" not in readme} == set()
