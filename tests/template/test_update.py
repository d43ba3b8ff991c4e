"""`copier update` over real earlier versions, on modules that their owners have edited for long."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foundry_cm import checks
from foundry_cm.testing import Foundry
from tests.conftest import REPOSITORY, UNIX, commit, git
from tests.template.conftest import FIRST, LAST_LINE, module_of, quiet_recopy, quiet_update

NESTED = "{text: str, lines: list[{sku: str}]}"
ANSWERS: dict[str, dict[str, Any]] = {
    "search": {},
    "search-two-stages": {"multi_stage": True, "python_version": "3.11"},
    "blank": {"example": "blank", "payload_fields": NESTED},
    "blank-list": {"example": "blank", "returns_list": True, "multi_stage": True},
}
TORCH = {"engine": "sentence-transformers"}
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
    append(module / "pyproject.toml", f'\n[tool.mine]\nname = "{MINE}"\n')
    append(module / ".gitignore", f"{MINE}/\n")
    append(module / "DEPLOY.md", f"\n## {MINE}\n")
    append(module / "requirements-dev.txt", f"# {MINE}\n")
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
    assert [found for found in checks.run(module) if found.severity != "notice"] == []


def contents(module: Path) -> Iterator[tuple[str, str]]:
    """Each file with its text, without the version that an answers file carries."""
    for path in sorted(module.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            text = path.read_text(errors="replace")
            if path.name == ".copier-answers.yml":
                # Copier puts the answers first that were given by -d; inside an answer, order counts.
                answers = {name: json.dumps(value) for name, value in yaml.safe_load(text).items()}
                text = json.dumps(answers | {"_commit": ""}, sort_keys=True)
            yield str(path.relative_to(module)), text


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
    for name in [*(name for name in fresh if name.startswith("src/cmkit/")), "README.md"]:
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
        ({"example": "embedding", "engine": "onnx", "concurrency_limit": 2}, {"gpu": "t4"}),
        ({"example": "embedding", "gpu": "t4", "concurrency_limit": 2, **TORCH}, {"gpu": "none"}),
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


GIVEN_UNASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"example": "blank"},
        {
            "returns_list": True,
            "permissions": "application",
            "min_replicas": 1,
            "max_replicas": 3,
            "concurrency_limit": 4,
            "enrollment_host": "acme.palantirfoundry.com",
            "ci": "gitlab",
            "cm_from": "index",
            "python_version": "3.12",
            "base_image": "registry.acme.com/docker/python",
            "company_ca": True,
            "multi_stage": True,
        },
    ),
    (
        {"example": "embedding", "weights_strategy": "downloaded"},
        {"weights_repo": "acme/e5", "weights_revision": "v2", "weights_source": "Hub"},
    ),
    (
        {"example": "embedding"},
        {
            "weights_origin": "foundry",
            "weights_dataset": "ri.foundry.main.dataset.1",
            "weights_branch": "release",
            "torch_index": "https://mirror.example.org/pytorch/{build}",
            **TORCH,
        },
    ),
    (
        {"example": "embedding", "gpu": "l4"},
        {"weights_origin": "folder", "weights_folder": "/mnt/models/e5", "torch_index": ""},
    ),
    (
        {"execution_mode": "pipeline", "example": "yolo"},
        {
            "poll_seconds": 5,
            "weights_origin": "https",
            "weights_url": "https://example.org/m/",
            "weights_files": "[mine.pt]",
        },
    ),
]


def test_every_question_behind_the_gate_is_tried_without_opening_it() -> None:
    config = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))
    gated = {
        name
        for name, question in config.items()
        if not name.startswith("_") and "more" in str(question.get("ask"))
    }
    assert gated == {name for _, given in GIVEN_UNASKED for name in given}


@pytest.mark.parametrize(("answers", "given"), GIVEN_UNASKED, ids=str)
def test_answer_to_a_question_that_was_not_asked_lasts_over_two_updates(
    next_version: Path, tmp_path: Path, answers: dict[str, Any], given: dict[str, Any]
) -> None:
    commit(next_version, "the version after it")
    git(next_version, "tag", "v1002.0.0")
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", answers | given)
    for version in ("v1001.0.0", "v1002.0.0"):
        quiet_update(module, vcs_ref=version)
        assert_clean(module)
        stored = yaml.safe_load((module / ".copier-answers.yml").read_text("utf-8"))
        assert {name: stored[name] for name in given} == given
        assert stored["_commit"] == version
        commit(module, f"updated to {version}")
    fresh = module_of(next_version, tmp_path / "fresh", "v1002.0.0", answers | given)
    assert dict(contents(module)) == dict(contents(fresh))


def test_update_to_the_same_version_changes_nothing(history: Path, tmp_path: Path) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", {})
    quiet_update(module)
    assert git(module, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "answers",
    [
        {"example": "blank", "payload_fields": "{zone: str, area: int, more: {z: str, a: int}}"},
        {
            "execution_mode": "pipeline",
            "inputs": "{zone: dataset, area: stream}",
            "outputs": "{zone-out: dataset, area-out: stream}",
        },
        {"sources": "[Zone, {name: Area, kind: generic, secrets: [zoneKey, areaKey]}]"},
    ],
    ids=["fields", "aliases", "sources"],
)
def test_names_stay_in_the_order_that_their_owner_gave(
    next_version: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    module = module_of(next_version, tmp_path / "module", "v1000.0.0", answers)
    quiet_update(module)
    assert_clean(module)
    fresh = module_of(next_version, tmp_path / "fresh", "v1001.0.0", answers)
    assert dict(contents(module)) == dict(contents(fresh))
    commit(module, "updated")
    quiet_recopy(module)
    assert git(module, "status", "--porcelain") == ""


class TestWhatAModuleIs:
    """Its app.py, its data and its tests are written once, so an update cannot make it another one."""

    @pytest.mark.parametrize(
        ("answers", "change", "reason"),
        [
            ({}, {"execution_mode": "pipeline"}, "execution_mode stays function here."),
            ({}, {"example": "yolo"}, "example stays search here."),
            (
                {"execution_mode": "pipeline"},
                {"inputs": "{input: media_set}"},
                "this one reads rows.",
            ),
            (
                {"example": "embedding"},
                {"engine": "sentence-transformers"},
                "engine stays onnx here.",
            ),
            (
                {"execution_mode": "pipeline", "inputs": "{input: media_set}"},
                {"inputs": "{input: dataset}"},
                "this one reads media sets.",
            ),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("run", [quiet_update, quiet_recopy], ids=["update", "recopy"])
    def test_stays_and_the_way_that_works_is_named(
        self,
        history: Path,
        tmp_path: Path,
        answers: dict[str, Any],
        change: dict[str, Any],
        reason: str,
        run: Callable[..., Any],
    ) -> None:
        module = module_of(history, tmp_path / "module", "v1000.0.0", answers)
        with pytest.raises(ValueError, match=re.escape(reason)) as refused:
            run(module, data=change)
        way = "Copy a new module for that, and move your code there: "
        assert str(refused.value).endswith(way + reason)
        assert git(module, "status", "--porcelain") == ""

    def test_inputs_of_the_same_kind_may_change(self, history: Path, tmp_path: Path) -> None:
        module = module_of(
            history, tmp_path / "module", "v1000.0.0", {"execution_mode": "pipeline"}
        )
        quiet_update(module, data={"inputs": "{input: dataset, more: stream}"})
        assert_clean(module)

    def test_is_not_looked_for_in_a_folder_where_nothing_is(
        self, history: Path, tmp_path: Path
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            module_of(history, tmp_path / "module", "v1000.0.0", {})


@UNIX
def test_template_that_moved_is_followed_by_the_documented_command(
    next_version: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    git(tmp_path, "clone", "-q", str(next_version), str(old))
    module = module_of(old, tmp_path / "module", "v1000.0.0", {})
    edit(module)
    before = lines_of_mine(module)
    shutil.rmtree(old)
    documented = (REPOSITORY / "docs/updates.md").read_text("utf-8")
    found = re.search(r"^copier copy .*?NEW_ADDRESS \.$", documented, re.M | re.S)
    assert found
    command = found[0].replace("v1.2.3", "v1000.0.0").replace("NEW_ADDRESS", str(next_version))
    subprocess.run(["sh", "-c", f"{sys.executable} -m {command}"], cwd=module, check=True)
    assert git(module, "status", "--porcelain").split() == ["M", ".copier-answers.yml"]
    pin = module / "requirements-dev.txt"
    pin.write_text(pin.read_text().replace(str(old), str(next_version)))
    commit(module, "the template moved")
    quiet_update(module)
    assert_clean(module)
    assert lines_of_mine(module) == before
    assert str(next_version) in pin.read_text()


EVERYTHING: dict[str, Any] = {"example": "yolo", "sources": "[GithubApi]", "ci": "gitlab"}


@pytest.mark.parametrize(
    "answers",
    [EVERYTHING, EVERYTHING | {"ci": "github"}, {"execution_mode": "pipeline"}, {}],
    ids=str,
)
def test_every_file_that_both_write_has_a_last_line_to_write_below(
    history: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", answers)
    owners = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))["owners"]["default"]
    once = [name[1:] for name in owners["written_once"].splitlines() if name.startswith("/")]
    whole = [name.rstrip("*") for name in owners["replaced"]] + once
    both = {
        name: text.splitlines()[-1]
        for name, text in contents(module)
        if not name.startswith(tuple(whole))
    }
    # Whoever adds to a Dockerfile adds above its last line.
    assert both.pop("Dockerfile") == 'ENTRYPOINT ["python", "app.py"]'
    del both[".copier-answers.yml"]
    assert [name for name, line in both.items() if LAST_LINE not in line] == []


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
        readme = template / "partials/readme/base.md.jinja"
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


def test_a_module_from_before_the_question_of_an_engine_keeps_its_own(
    history: Path, tmp_path: Path
) -> None:
    module = module_of(history, tmp_path / "module", "v1000.0.0", {"example": "embedding", **TORCH})
    stored = module / ".copier-answers.yml"
    stored.write_text(stored.read_text().replace("engine: sentence-transformers\n", ""))
    commit(module, "as it was before")
    files = {file.name: file.read_bytes() for file in module.glob("requirements*")}
    with pytest.raises(ValueError, match="engine stays sentence-transformers here"):
        quiet_recopy(module, data={"engine": "onnx"})
    quiet_recopy(module)
    assert "engine: sentence-transformers\n" in stored.read_text()
    assert {file.name: file.read_bytes() for file in module.glob("requirements*")} == files
