"""A fault in a file that a person wrote is named: what, on which line, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.module.resources import read_resources

SETTINGS = [
    ("max-megabyte = 3", 2, "max-megabyte", 'There is no key "max-megabyte"', "max-megabytes"),
    ('concurrency = "4"', 2, "concurrency", "concurrency has to be a whole number, not text", None),
    (
        "concurrency = true",
        2,
        "concurrency",
        "concurrency has to be a whole number, not true",
        None,
    ),
    ("concurrency = 0", 2, "concurrency", "concurrency has to be at least 1", None),
    (
        "image-budget-mb = inf",
        2,
        "image-budget-mb",
        "image-budget-mb has to be at most 1000000000",
        None,
    ),
    ("timeout-seconds = nan", 2, "timeout-seconds", "timeout-seconds has to be more than 0", None),
    ("# command\ncommand = 'x'", 3, "command", "command has to be a list, not text", None),
    ('command = [\n  "python",\n  1,\n]', 2, "command", "an item of command has to be text", None),
    (
        'image = "a"\npermissions = "aplication"',
        3,
        "permissions",
        'permissions cannot be "apli',
        "application",
    ),
    ("weights = 2030-01-31", 2, "weights", "weights has to be a table, not a date", None),
]


@pytest.mark.parametrize(("text", "line", "key", "what", "meant"), SETTINGS)
def test_a_setting_that_cannot_be_is_named_with_its_line_and_what_was_meant(
    tmp_path: Path, text: str, line: int, key: str, what: str, meant: str | None
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.foundry-cm]\n{text}\n")
    with pytest.raises(CmError) as refused:
        Project.read(tmp_path)
    assert refused.value.what.startswith(what)
    assert refused.value.where == f"{file}:{line}, [tool.foundry-cm] {key}"
    assert refused.value.fix == (f'Did you mean "{meant}"?' if meant else None)
    assert refused.value.exit_code == 2


def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = \n")
    with pytest.raises(CmError) as refused:
        Project.read(tmp_path)
    assert refused.value.where == f"{tmp_path / 'pyproject.toml'}:2"
    assert refused.value.what.startswith("pyproject.toml is not TOML: ")
    (tmp_path / "pyproject.toml").write_text("a = 1\na = 2\n")
    with pytest.raises(CmError) as twice:
        Project.read(tmp_path)
    assert twice.value.fix == "A key stands there for the second time: keep one of the two lines."


def test_a_file_that_is_not_text_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(CmError, match="pyproject.toml is not UTF-8 text"):
        Project.read(tmp_path)


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\nfoundry-cm = 1"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(CmError, match="has to be a table, not a whole number"):
        Project.read(tmp_path)


def test_a_module_without_settings_has_the_defaults(tmp_path: Path) -> None:
    project = Project.read(tmp_path)
    assert (project.concurrency, project.timeout_seconds, project.image_budget) == (1, 300, None)


RESOURCES = [
    (
        '"inputs": {}',
        None,
        "outputs",
        "outputs is missing",
        'Write, for example: "outputs": {"prices": "dataset"}',
    ),
    (
        '"inputs": {},\n"outputs": {"fine": "stream",\n"parts": "strem"}',
        3,
        "outputs.parts",
        'parts cannot be "strem"',
        'Did you mean "stream"?',
    ),
    ('"inputs": [],\n"outputs": {}', 1, "inputs", "inputs has to be a table, not a list", None),
    (
        '"inputs": {},\n"outputs": {"../x": "dataset"}',
        2,
        "outputs",
        '"../x" cannot be an alias',
        "Use up to 63 letters",
    ),
    (
        '"inputs": {"a": "dataset"},\n"outputs": {"a": "dataset"}',
        2,
        "outputs",
        'The alias "a" is there twice',
        "Give each its own.",
    ),
    (
        '"inputs": {},\n"outputs": {},\n"eror": "x"',
        3,
        "eror",
        'There is no key "eror"',
        'Did you mean "errors"?',
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "what", "fix"), RESOURCES)
def test_a_fault_in_resources_json_is_named_with_its_line(
    tmp_path: Path, text: str, line: int | None, key: str, what: str, fix: str | None
) -> None:
    file = tmp_path / "src" / "resources.json"
    file.parent.mkdir()
    file.write_text("{" + text + "}")
    with pytest.raises(CmError) as refused:
        read_resources(tmp_path)
    assert refused.value.what == what
    assert refused.value.where == f"{file}:{line}, {key}" if line else f"{file}, {key}"
    assert (refused.value.fix or "").startswith(fix or "")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"inputs": {"a": "dataset",\n"a": "stream"}}', 'it has the key "a" twice'),
        ('{\n"inputs": }', "Expecting value: line 2 column 11 (char 12)"),
        ("[" * 100_000, ""),
    ],
)
def test_a_file_that_is_not_json_says_why(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "src" / "resources.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(CmError) as refused:
        read_resources(tmp_path)
    assert refused.value.what.startswith(f"resources.json is not JSON: {what}")
