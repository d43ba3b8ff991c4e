"""`cm check` renders the template again, and finds what was done to the files that an update replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_update

from foundry_cm import checks
from foundry_cm.checks import Finding, Severity, carried
from foundry_cm.checks.carried import Carried, archive
from tests.checks.conftest import Make, append, carry, found, only
from tests.conftest import REPOSITORY, commit, copy_working_tree, git

OWNERS = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8"))["owners"]["default"]


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"example": "blank", "payload_fields": "{zone: str, area: int}"},
        {"example": "yolo", "weights_strategy": "downloaded", "gpu": "t4"},
        {"execution_mode": "pipeline", "inputs": "{z: stream, a: dataset}"},
        {"sources": "[Zed, {name: Erp, kind: generic, secrets: [b, a]}]"},
    ],
    ids=str,
)
def test_module_that_nobody_touched_is_as_rendered(make: Make, answers: dict[str, Any]) -> None:
    assert [each for each in checks.run(make(**answers)) if each.code.startswith("CM6")] == []


def test_edited_file_is_found_and_the_place_for_the_edit_named(make: Make) -> None:
    module = make()
    append(module / "src/cmkit/startup.py", "# mine\n")
    assert only(module) == Finding(
        "src/cmkit/startup.py belongs to the template and was edited",
        "src/cmkit/startup.py",
        "Do in src/app.py or a file beside it what the edit wanted; "
        "git log -p -- src/cmkit/startup.py has the text as it was.",
        severity=Severity.ERROR,
        code="CM607",
        name="template-file",
    )


def test_edited_requirement_belongs_into_requirements_txt(make: Make) -> None:
    module = make(example="embedding", engine="sentence-transformers")
    append(module / "requirements-template-torch.txt", "torchvision\n")
    assert only(module).fix.startswith("Do in requirements.txt what the edit wanted;")


def test_missing_file_is_found(make: Make) -> None:
    module = make()
    (module / "src/cmkit/startup.py").unlink()
    commit(module, "not needed")
    finding = only(module)
    assert finding.message == "src/cmkit/startup.py belongs to the template and is missing"
    assert "git log --diff-filter=D -- src/cmkit/startup.py" in finding.fix


def test_file_among_those_of_the_template_is_found(make: Make) -> None:
    module = make()
    (module / "src/cmkit/mine.py").touch()
    assert only(module) == Finding(
        "src/cmkit/mine.py lies among the template's files and is not one of them",
        "src/cmkit/mine.py",
        "Move it: an update may put a file of its own there.",
        severity=Severity.ERROR,
        code="CM607",
        name="template-file",
    )


def test_what_git_ignores_and_other_line_ends_are_no_edits(make: Make) -> None:
    module = make()
    (module / "src/cmkit/__pycache__").mkdir()
    (module / "src/cmkit/__pycache__/startup.cpython-311.pyc").touch()
    startup = module / "src/cmkit/startup.py"
    startup.write_bytes(startup.read_bytes().replace(b"\n", b"\r\n"))
    assert checks.run(module) == []


def test_edits_of_the_owners_files_are_no_findings(make: Make) -> None:
    module = make()
    for file in ("src/app.py", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        append(module / file, "# mine\n")
    assert checks.run(module) == []


class TestFileThatIsAddedToTheTemplatesFolder:
    """It is put there, and nothing else is edited."""

    @pytest.fixture
    def extended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        template = tmp_path / "extended"
        copy_working_tree(template)
        (template / "template/src/cmkit/extra.py").write_text('"""One more."""\n')
        commit(template, "one more file")
        git(template, "tag", "v1000.0.0")
        carry(monkeypatch, template)
        return template

    def test_is_rendered_and_watched(self, make: Make, extended: Path) -> None:
        module = make(source=extended)
        assert checks.run(module) == []
        append(module / "src/cmkit/extra.py", "# mine\n")
        assert only(module).message == "src/cmkit/extra.py belongs to the template and was edited"

    def test_is_replaced_by_an_update(self, make: Make, extended: Path) -> None:
        module = make(source=extended)
        append(extended / "template/src/cmkit/extra.py", "NEW = True\n")
        commit(extended, "changed")
        git(extended, "tag", "v1001.0.0")
        run_update(module, defaults=True, overwrite=True, quiet=True)
        assert "NEW = True" in (module / "src/cmkit/extra.py").read_text()


def test_owners_are_said_in_the_readme_as_copier_yml_has_them(make: Make) -> None:
    readme = (make() / "README.md").read_text().splitlines()
    once = [line[1:] for line in OWNERS["written_once"].splitlines() if line.startswith("/")]
    for files, owner in ((once, "you"), (OWNERS["replaced"], "the template")):
        names = ", ".join(f"`{name}`" for name in files)
        assert [line for line in readme if line.startswith(f"| {names} | {owner} |")]


class TestAnotherCommit:
    """Where the template that made the module is not at hand, a notice says how to get it."""

    @pytest.mark.parametrize(
        ("known_as", "same"),
        [("v1000.0.0", True), ("v1.0.0", False), ("0123456", False), ("v1.0.0-3-g0123456", False)],
    )
    def test_is_told_from_the_same_one(self, template: Path, known_as: str, same: bool) -> None:
        content = archive(template)
        assert content and Carried(content).is_at(known_as) is same

    @pytest.mark.parametrize("form", ["{}", "v999.0.0-12-g{}"])
    def test_is_told_by_the_digits_that_git_describe_gives(self, template: Path, form: str) -> None:
        content, digits = archive(template), git(template, "rev-parse", "--short", "HEAD").strip()
        assert content and Carried(content).is_at(form.format(digits))

    def test_is_a_notice_and_no_failure(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, template: Path, tmp_path: Path
    ) -> None:
        module = make()
        append(module / "src/cmkit/startup.py", "# mine\n")
        other = tmp_path / "other"
        git(tmp_path, "clone", "-q", str(template), str(other))
        commit(other, "the next one")
        git(other, "tag", "v1001.0.0")
        carry(monkeypatch, other)
        assert only(module) == Finding(
            "Edits in the template's files were not looked for: "
            "this foundry-cm is v1001.0.0, the module is v1000.0.0",
            ".copier-answers.yml",
            "pip uninstall --yes foundry-cm, then pip install -r requirements-dev.txt.",
            line=2,
            severity=Severity.NOTICE,
            code="CM608",
            name="not-compared",
        )

    def test_of_a_tool_that_was_built_without_git(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(carried, "find", lambda: None)
        assert (
            "this foundry-cm is of no known commit, the module is v1000.0.0" in only(make()).message
        )

    def test_of_a_template_without_git(self, make: Make, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        copy_working_tree(plain)
        finding = only(make(source=plain))
        assert finding.severity == "notice" and finding.fix.startswith(
            "Make it from a template in git"
        )


def test_folder_without_git_has_no_archive(tmp_path: Path) -> None:
    copy_working_tree(tmp_path)
    assert archive(tmp_path) is None


def test_module_that_the_template_did_not_make_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    assert found(tmp_path) == {}
