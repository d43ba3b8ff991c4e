"""`copier update` over real earlier versions, on modules that their owners have edited for long."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foundry_cm import checks
from foundry_cm.testing import Foundry
from tests.conftest import REPOSITORY, commit, git
from tests.template.conftest import FIRST, module_of, quiet_update

NESTED = "{text: str, lines: list[{sku: str}]}"
ANSWERS: dict[str, dict[str, Any]] = {
    "search": {},
    "search-two-stages": {"multi_stage": True, "python_version": "3.11"},
    "blank": {"example": "blank", "payload_fields": NESTED},
    "blank-list": {"example": "blank", "returns_list": True, "multi_stage": True},
}
# What came later.
LATER: dict[str, dict[str, Any]] = {
    "embedding": {"example": "embedding"},
    "yolo-gpu": {"example": "yolo", "weights_strategy": "downloaded", "gpu": "v100"},
    "pipeline": {"execution_mode": "pipeline", "inputs": "{orders: dataset, events: stream}"},
    "pipeline-embedding": {"execution_mode": "pipeline", "example": "embedding", "ci": "gitlab"},
    "pipeline-yolo": {
        "execution_mode": "pipeline",
        "example": "yolo",
        "weights_strategy": "downloaded",
    },
    "sources": {
        "sources": "[GithubApi, {name: Erp, kind: generic, secrets: [apiKey]}]",
    },
    "platform-ci": {"permissions": "application", "ci": "github", "min_replicas": 1},
}
ALL = ANSWERS | LATER


def releases() -> list[str]:
    """The first commit, and every release since."""
    return [FIRST, *git(REPOSITORY, "tag", "--list", "v*").split()]


MINE = "mine-to-keep"


def edit(module: Path) -> None:
    """What owners do in a year; each line that they add holds the word that the tests look for."""
    app = module / "src/app.py"
    text = app.read_text()
    (module / "src/records.py").write_text(f'"""Records, {MINE}."""\n')
    handler = re.search(r"^@function\ndef \w+", text, re.M)
    assert handler
    new = (
        handler.group(0).replace("def ", "def more_")
        + text[handler.end() : text.index("if __name__")]
    )
    app.write_text(text.replace("if __name__", f"# {MINE}: one more function.\n{new}if __name__"))
    append(module / "requirements.txt", f"# {MINE}\nidna\n")
    append(module / "requirements-dev.txt", f"# {MINE}\n")
    append(module / "pyproject.toml", f'\n[tool.mine]\nname = "{MINE}"\n')
    append(module / ".gitignore", f"{MINE}/\n")
    dockerfile = module / "Dockerfile"
    dockerfile.write_text(
        dockerfile.read_text().replace("USER 5000", f"ENV MINE={MINE}\nUSER 5000")
    )
    (module / "tests/test_app.py").unlink()
    (module / ".dockerignore").unlink()
    commit(module, "a year of work")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def lines_of_mine(module: Path) -> dict[str, list[str]]:
    """The lines that the owner added, by file."""
    files = [path for path in module.rglob("*") if path.is_file() and ".git" not in path.parts]
    found = {
        str(path.relative_to(module)): [
            line for line in path.read_text().splitlines() if MINE in line
        ]
        for path in files
    }
    return {name: lines for name, lines in found.items() if lines}


def assert_clean(module: Path) -> None:
    """Copier ends with 0 on conflicts, so look for their traces."""
    assert git(module, "ls-files", "--unmerged") == ""
    assert [finding for _, finding in checks.run(module)] == []


def contents(module: Path) -> Iterator[tuple[str, str]]:
    """Each file with its text, without the version that an answers file and a pin carry."""
    for path in sorted(module.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            text = path.read_text(errors="replace")
            yield (
                str(path.relative_to(module)),
                re.sub(r"_commit: .*|# sha256 .* answers", "", text),
            )


@pytest.mark.parametrize("version", releases())
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_update_of_an_edited_module_loses_nothing_and_still_answers(
    history: Path, tmp_path: Path, version: str, answers: dict[str, Any]
) -> None:
    module = module_of(
        history, tmp_path / "module", "v0.0.1" if version == FIRST else version, answers
    )
    edit(module)
    before = lines_of_mine(module)
    quiet_update(module)
    assert_clean(module)
    assert lines_of_mine(module) == before
    assert not (module / "tests/test_app.py").exists()
    assert not (module / ".dockerignore").exists()
    with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
        names = sorted(foundry.functions)
        assert len(names) == 2
        for name in names:
            assert (
                foundry.call(name, foundry.functions[name].sample_event() | example(name))
                is not None
            )


def example(name: str) -> dict[str, str]:
    return {"partition": "pumps"} if name.endswith("search") else {}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_change_of_every_template_file_reaches_an_edited_module(
    next_version: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", answers)
    edit(module)
    before = lines_of_mine(module)
    quiet_update(module)
    assert_clean(module)
    assert lines_of_mine(module) == before
    fresh = dict(contents(module_of(next_version, tmp_path / "fresh", "v1001.0.0", answers)))
    updated = dict(contents(module))
    for name in ("src/cmkit/functions/start.py", "src/cmkit/functions/results.py", "README.md"):
        assert updated[name] == fresh[name]
    assert "LABEL next=version" in updated["Dockerfile"]
    assert '"PERF"' in updated["pyproject.toml"]
    assert "pytest>=8.4.1" in updated["requirements-dev.txt"]


@pytest.mark.parametrize("answers", ALL.values(), ids=ALL)
def test_update_of_an_untouched_module_converges_with_a_fresh_copy(
    next_version: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", answers)
    quiet_update(module)
    assert_clean(module)
    fresh = module_of(next_version, tmp_path / "fresh", "v1001.0.0", answers)
    assert dict(contents(module)) == dict(contents(fresh))


@pytest.mark.parametrize(
    ("answers", "change"),
    [
        ({}, {"multi_stage": True}),
        ({}, {"python_version": "3.12"}),
        ({}, {"description": "Another one."}),
        ({}, {"ci": "github"}),
        ({"ci": "github"}, {"ci": "gitlab"}),
        ({}, {"sources": "[GithubApi]"}),
        ({"permissions": "application"}, {"permissions": "none"}),
        ({"example": "embedding"}, {"gpu": "t4"}),
        ({"example": "embedding", "gpu": "t4"}, {"gpu": "none"}),
        ({"example": "embedding"}, {"weights_strategy": "downloaded"}),
        ({"example": "yolo", "weights_strategy": "downloaded"}, {"weights_strategy": "baked"}),
        ({"execution_mode": "pipeline"}, {"multi_stage": True}),
        (
            {"execution_mode": "pipeline", "example": "embedding"},
            {"weights_strategy": "downloaded"},
        ),
    ],
    ids=str,
)
def test_changed_answer_gives_what_a_fresh_copy_gives(
    history: Path, tmp_path: Path, answers: dict[str, Any], change: dict[str, Any]
) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", answers)
    quiet_update(module, data=change)
    assert_clean(module)
    fresh = module_of(history, tmp_path / "fresh", "v1000.0.0", answers | change)
    assert dict(contents(module)) == dict(contents(fresh))


def test_update_to_the_same_version_changes_nothing(history: Path, tmp_path: Path) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", {})
    quiet_update(module)
    assert git(module, "status", "--porcelain") == ""


def test_edits_in_the_same_place_are_marked_and_reported(
    next_version: Path, tmp_path: Path
) -> None:
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", {})
    dockerfile = module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("WORKDIR /app", "WORKDIR /mine"))
    commit(module, "another folder")
    quiet_update(module)
    found = dict(checks.run(module))
    assert found["conflict-marker"].file == "Dockerfile"
    text = dockerfile.read_text()
    assert "WORKDIR /mine" in text and "LABEL next=version" in text


def test_rejected_hunk_is_reported(next_version: Path, tmp_path: Path) -> None:
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", {})
    dockerfile = module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("WORKDIR /app", "WORKDIR /mine"))
    commit(module, "another folder")
    quiet_update(module, conflict="rej")
    found = dict(checks.run(module))
    assert found["rejected-hunk"].what == "An update could not apply a change to Dockerfile"


def test_edited_template_file_and_answers_are_reported(history: Path, tmp_path: Path) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", {})
    assert_clean(module)
    append(module / "src/cmkit/functions/start.py", "# mine\n")
    answers = module / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("multi_stage: false", "multi_stage: true"))
    found = dict(checks.run(module))
    assert found.keys() == {"template-file-edited", "answers-edited"}
    assert "do it in src/app.py" in found["template-file-edited"].fix


def test_template_file_checked_out_with_other_line_ends_is_no_edit(
    history: Path, tmp_path: Path
) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", {})
    startup = module / "src/cmkit/functions/start.py"
    startup.write_bytes(startup.read_bytes().replace(b"\n", b"\r\n"))
    assert_clean(module)


class TestMechanisms:
    """What the template relies on when questions and files move, shown with versions made for it."""

    @pytest.fixture
    def template(self, history: Path, tmp_path: Path) -> Path:
        repository = tmp_path / "template"
        git(tmp_path, "clone", "-q", str(history), str(repository))
        return repository

    def release(self, template: Path) -> None:
        commit(template, "the next version")
        git(template, "tag", "v1001.0.0")

    def test_files_of_the_owner_are_never_written_again(
        self, template: Path, tmp_path: Path
    ) -> None:
        module = module_of(template, tmp_path / "module", "v1000.0.0", {})
        (module / "events/search.json").unlink()
        commit(module, "no events")
        before = (module / "src/app.py").read_text()
        for name in ("app.py", "test_app.py", "event.json"):
            append(template / "partials/examples/search/function" / name, "\n")
        append(template / "template/requirements.txt.jinja", "idna\n")
        self.release(template)
        quiet_update(module)
        assert (module / "src/app.py").read_text() == before
        assert "idna" not in (module / "requirements.txt").read_text()
        assert not (module / "events/search.json").exists()

    def test_renamed_question_keeps_its_answer(self, template: Path, tmp_path: Path) -> None:
        module = module_of(template, tmp_path / "module", "v1000.0.0", {"description": "Mine."})
        config = template / "copier.yml"
        text = (
            config.read_text()
            .replace("\ndescription:", "\nsummary:")
            .replace("description |", "summary |")
        )
        text = text.replace("'\\n' in description", "'\\n' in summary")
        config.write_text(
            text.replace(
                "default: A compute module for Palantir Foundry.",
                "default: \"{{ description if description is defined else 'A module.' }}\"",
            )
        )
        readme = template / "template/README.md.jinja"
        readme.write_text(readme.read_text().replace("{{ description }}", "{{ summary }}"))
        self.release(template)
        quiet_update(module)
        assert yaml.safe_load((module / ".copier-answers.yml").read_text())["summary"] == "Mine."
        assert "Mine." in (module / "README.md").read_text()

    def test_moved_file_that_was_edited_stays_where_the_edits_are(
        self, template: Path, tmp_path: Path
    ) -> None:
        module = module_of(template, tmp_path / "module", "v1000.0.0", {})
        append(module / ".pre-commit-config.yaml", f"# {MINE}\n")
        commit(module, "an edit")
        shutil.move(template / "template/.pre-commit-config.yaml", template / "template/hooks.yaml")
        config = template / "copier.yml"
        line = "  - \"{% if _copier_operation == 'update' %}/.pre-commit-config.yaml{% endif %}\"\n"
        config.write_text(config.read_text().replace("_exclude:\n", "_exclude:\n" + line))
        self.release(template)
        quiet_update(module)
        assert MINE in (module / ".pre-commit-config.yaml").read_text()
        assert (module / "hooks.yaml").exists()
