"""CONTRIBUTING.md leads to what is there: its maps are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.maps import CONTRIBUTING, PREVENTED_BY, Questions, file_with, mapped, traps_table
from tests.conftest import REPOSITORY

TEXT = CONTRIBUTING.read_text("utf-8")


def test_the_maps_are_those_of_the_code() -> None:
    assert mapped(TEXT) == TEXT, "make maps"


def test_each_question_leads_to_a_file() -> None:
    questions = Questions()
    # It only decides which other questions are asked.
    for name in set(questions.asked) - {"more"}:
        facts = [fact for fact, read in questions.facts.items() if name in read]
        assert any(questions.files[found] for found in [name, *facts]), name


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template with two questions and two facts."""
    (tmp_path / "copier.yml").write_text(
        "gpu: {type: str, default: none}\n"
        "inputs:\n"
        "  default: '{}'\n"
        "  validator: \"{% from pathjoin('partials', 'read.jinja') import read %}{{ read(inputs) }}\"\n"
        "has_gpu: {default: \"{{ gpu != 'none' }}\", when: false}\n"
        "parsed: {default: '{}', when: false}\n"
        "_subdirectory: template\n"
    )
    for name, text in {
        "template/{% if has_gpu %}card{% endif %}/a.py": "",
        "template/{% if has_gpu %}card{% endif %}/b.py.jinja": "{{ has_gpu }}",
        "template/{{ gpu }}.txt": "{{ inputs }} is no Jinja here",
        "template/resources.json.jinja": "{{ parsed.inputs }}",
        "partials/read.jinja": "{% macro read(inputs) %}{{ inputs }}{% endmacro %}",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_a_question_is_found_where_its_answer_is_read(template: Path) -> None:
    questions = Questions(template)
    assert (questions.asked, list(questions.facts)) == (["gpu", "inputs"], ["has_gpu", "parsed"])
    assert questions.facts["has_gpu"] == {"gpu"}
    assert questions.files == {
        "gpu": {"*.txt"},
        "inputs": {"partials/read.jinja", "resources.json.jinja"},
        "has_gpu": {"card/"},
    }


def test_a_line_that_is_gone_is_no_protection(template: Path) -> None:
    with pytest.raises(AssertionError, match="should have the line 'once', not \\[\\]"):
        file_with("once", template)


def test_each_trap_that_modules_are_immune_to_has_its_line() -> None:
    text = (REPOSITORY / "docs" / "traps.md").read_text("utf-8")
    numbers = {int(number) for number in re.findall(r"^\| (\d+) ", traps_table(text), re.M)}
    assert numbers == PREVENTED_BY.keys()


def test_what_it_says_to_run_is_a_target_of_make() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert set(re.findall(r"`make ([a-z-]+)", TEXT)) <= targets


def test_each_decision_is_in_the_index() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", index, re.M)
    written = [
        (str(int(file.name[:4])), file.read_text("utf-8").splitlines()[0].split(". ")[1], file.name)
        for file in sorted(folder.glob("0*.md"))
    ]
    assert listed == written


@pytest.mark.parametrize(
    "file", ["README.md", "CONTRIBUTING.md", *(f"docs/{f.name}" for f in (REPOSITORY / "docs").glob("*.md"))]
)  # fmt: skip
def test_no_link_leads_nowhere(file: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (REPOSITORY / file).read_text("utf-8")):
        assert ((REPOSITORY / file).parent / target).exists(), target
