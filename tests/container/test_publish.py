"""`cm publish`: the tag from git, the preflight, and a real push to a registry with a login."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foundry_cm.cli import app
from foundry_cm.cli.console import err
from foundry_cm.errors import CmError
from foundry_cm.image.image import check_ref
from foundry_cm.image.publish import Plan, Request, preflight, publish, ready
from foundry_cm.image.registry import registry_host
from foundry_cm.image.version_tag import tag_from_git
from tests.containers import REPOSITORY, TOKEN, Registry

DOCKERFILE = """\
FROM --platform=linux/amd64 python:3.13-slim
COPY src .
USER 5000
ENTRYPOINT ["python", "app.py"]
"""


def git(folder: Path, *argv: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *who, *argv], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed module, and the login that Foundry's page gives."""
    folder = tmp_path / "parts"
    (folder / "src").mkdir(parents=True)
    (folder / "src/app.py").write_text("print('started')\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "pyproject.toml").write_text(
        '[tool.foundry-cm]\nenrollment-host = "acme.palantirfoundry.com"\n'
    )
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "First")
    monkeypatch.setenv("REPOSITORY", REPOSITORY)
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("FOUNDRY_HOSTNAME", "acme.palantirfoundry.com")
    return folder


def plan_for(module: Path, registry: Registry, tag: str | None = None) -> Plan:
    plan, missing = preflight(Request(module, "buildah", registry.host, tag))
    assert missing == []
    assert plan is not None
    return plan


def test_the_tag_is_the_version_tag_or_the_commit(module: Path) -> None:
    commit = git(module, "rev-parse", "HEAD")
    assert tag_from_git(module) == commit[:12]
    git(module, "tag", "v1.4.0")
    assert tag_from_git(module) == "v1.4.0"
    git(module, "commit", "--allow-empty", "--quiet", "--message", "Second")
    assert tag_from_git(module) == f"v1.4.0-1-g{git(module, 'rev-parse', 'HEAD')[:12]}"


def test_a_tag_with_a_slash_is_made_usable(module: Path) -> None:
    git(module, "tag", "release/1+x")
    assert tag_from_git(module) == "release-1-x"


def test_changes_that_are_not_committed_are_refused_or_marked(module: Path) -> None:
    (module / "src/app.py").write_text("print('changed')\n")
    with pytest.raises(CmError) as failure:
        tag_from_git(module)
    assert failure.value.what == "1 changed file is not committed: src/app.py"
    marked = tag_from_git(module, allow_dirty=True)
    assert marked.startswith(git(module, "rev-parse", "HEAD")[:12] + "-dirty-2")


def test_changes_beside_the_module_do_not_count(module: Path) -> None:
    git(module, "init", "--quiet", "..")
    nested = module / "nested"
    nested.mkdir()
    (nested / "Dockerfile").write_text(DOCKERFILE)
    git(module, "add", "--all")
    git(module, "commit", "--quiet", "--message", "Nested")
    (module / "src/app.py").write_text("print('changed')\n")
    assert "dirty" not in tag_from_git(nested)


def test_a_module_without_a_commit_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CmError) as failure:
        tag_from_git(tmp_path)
    assert failure.value.what == "there is no git commit to make the image's tag from"


@pytest.mark.parametrize(
    ("enrollment", "host"),
    [
        ("acme.palantirfoundry.com", "acme-container-registry.palantirfoundry.com"),
        (
            "https://acme.palantirfoundry.com/workspace/x",
            "acme-container-registry.palantirfoundry.com",
        ),
        ("acme.palantirfoundry.co.uk", "acme-container-registry.palantirfoundry.co.uk"),
        (
            "acme-container-registry.palantirfoundry.com",
            "acme-container-registry.palantirfoundry.com",
        ),
    ],
)
def test_the_registry_of_an_enrollment(enrollment: str, host: str) -> None:
    assert registry_host(enrollment) == host


def test_a_host_of_another_domain_needs_its_registry(module: Path) -> None:
    with pytest.raises(CmError) as failure:
        registry_host("foundry.acme.example")
    assert failure.value.what == (
        'the registry of "foundry.acme.example" cannot be derived from its name'
    )


def test_the_preflight_names_every_missing_piece(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("TOKEN")
    monkeypatch.delenv("FOUNDRY_HOSTNAME")
    monkeypatch.setenv("REPOSITORY", "my-repo")
    (module / "pyproject.toml").unlink()
    plan, missing = preflight(Request(module, tag="1.0"))
    assert plan is None
    assert [error.what for error in missing] == [
        "no container engine answers: docker: not installed; podman: not installed; "
        "buildah: not installed",
        "the enrollment's host is not known",
        "REPOSITORY is no Artifacts repository: my-repo",
        "TOKEN is not set",
    ]
    with pytest.raises(CmError, match="4 things are missing before you can publish") as failure:
        ready(plan, missing)
    assert "export TOKEN=..." in (failure.value.details or "")


@pytest.mark.parametrize(
    ("own", "enrollment", "reason"),
    [
        (
            "",
            "acme.palantirfoundry.com",
            "only pyproject.toml names acme-container-registry.palantirfoundry.com, and TOKEN "
            "would be sent there",
        ),
        (
            "acme.palantirfoundry.com",
            "thief.palantirfoundry.com",
            "pyproject.toml is for thief-container-registry.palantirfoundry.com, and "
            "FOUNDRY_HOSTNAME for "
            "acme-container-registry.palantirfoundry.com",
        ),
        (
            "",
            "acme.palantirfoundry.evil.com",
            'the registry of "acme.palantirfoundry.evil.com" cannot be derived from its name',
        ),
    ],
)
def test_the_token_goes_to_no_host_that_only_the_module_names(
    module: Path, monkeypatch: pytest.MonkeyPatch, own: str, enrollment: str, reason: str
) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTNAME", own)
    (module / "pyproject.toml").write_text(f'[tool.foundry-cm]\nenrollment-host = "{enrollment}"\n')
    plan, missing = preflight(Request(module, tag="1.0"))
    assert reason in [error.what for error in missing]
    with pytest.raises(CmError):
        ready(plan, missing)


@pytest.mark.parametrize("registry", ["-x", "--config=/tmp", "host/path", "user@host"])
def test_a_registry_that_is_no_host_is_refused(module: Path, registry: str) -> None:
    _, missing = preflight(Request(module, registry=registry, tag="1.0"))
    assert f'"{registry}" is not the host of a registry' in [error.what for error in missing]


@pytest.mark.parametrize("name", ["-x", "--config=/tmp", "a b", "../x"])
def test_an_image_name_that_engines_would_take_for_an_option_is_refused(
    module: Path, name: str
) -> None:
    (module / "pyproject.toml").write_text(f'[tool.foundry-cm]\nimage = "{name}"\n')
    _, missing = preflight(Request(module, tag="1.0"))
    assert f'"{name}" is not a valid image name' in [error.what for error in missing]
    with pytest.raises(CmError, match="is not an image"):
        check_ref(name)


def test_a_dry_run_writes_nothing(
    module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho 28\n")
    docker.chmod(0o755)
    settings = tmp_path / ".docker"
    (settings / "contexts").mkdir(parents=True)
    (settings / "config.json").write_text(
        '{"proxies": {"default": {"httpProxy": "http://me:pw@p"}}}'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(module)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = CliRunner().invoke(app, ["publish", "--dry-run"])
    assert (done.exit_code, done.stdout.count("docker")) == (0, 3), done.output
    # git refreshes its own index.
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert {path for path in before | after if before.get(path) != after.get(path)} <= {
        module / ".git",
        module / ".git/index",
    }


def test_a_token_with_a_line_end_is_found(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", TOKEN + "\n")
    _, missing = preflight(Request(module, tag="1.0"))
    assert "TOKEN has white space around it" in [error.what for error in missing]


def test_the_commands_are_right_and_show_no_secret(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundry_cm.image.engines.Engine.version", lambda self: "28")
    monkeypatch.setattr("foundry_cm.image.engines.Engine._has_buildx", lambda self: True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    plan, missing = preflight(Request(module))
    assert missing == []
    assert plan is not None
    ref = f"acme-container-registry.palantirfoundry.com/parts:{tag_from_git(module)}"
    assert [command.shown() for command in plan.commands(module.parent)] == [
        f"printf '%s' \"$TOKEN\" | docker login --username {REPOSITORY} --password-stdin"
        " acme-container-registry.palantirfoundry.com",
        "docker buildx build --load --provenance=false --platform linux/amd64"
        f" --tag {ref} {module}",
        f"docker push {ref}",
    ]


@pytest.mark.container
@pytest.mark.usefixtures("containers")
def test_a_module_is_published_and_its_digest_is_the_registrys(
    module: Path,
    registry: Registry,
    capfd: pytest.CaptureFixture[str],
) -> None:
    plan = plan_for(module, registry)
    done = publish(plan, err)
    manifest = registry.folder / "data/docker/registry/v2/repositories/parts/_manifests"
    link = manifest / f"tags/{plan.target.tag}/current/link"
    assert done.digest == link.read_text()
    assert done.report is not None
    assert done.report.image.size > 100_000_000
    printed = capfd.readouterr()
    assert "in all" in printed.err
    assert TOKEN not in printed.out + printed.err + registry.log()

    again = publish(plan, err)
    assert (again.digest, again.report) == (done.digest, None)
    for each in (done, again):
        each.add_to(module / "output")
    told = f"image={plan.target.ref}\ndigest={done.digest}\nbuilt="
    assert (module / "output").read_text() == f"{told}true\n{told}false\n"


@pytest.mark.container
@pytest.mark.usefixtures("containers")
def test_a_tag_given_by_hand_is_never_overwritten(module: Path, registry: Registry) -> None:
    publish(plan_for(module, registry, "1.0"), err)
    with pytest.raises(CmError, match="the registry has an image parts:1"):
        publish(plan_for(module, registry, "1.0"), err)


@pytest.mark.container
@pytest.mark.usefixtures("containers")
def test_a_wrong_token_stops_before_the_build(
    module: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOKEN", "canary-wrong-token")
    with pytest.raises(CmError, match="buildah login failed with exit code") as failure:
        publish(plan_for(module, registry), err)
    assert failure.value.fix == ("Generate a new token where TOKEN came from; it needs Edit there.")
    printed = capfd.readouterr()
    assert "STEP 1" not in printed.err
    assert "canary-wrong-token" not in printed.out + printed.err + str(vars(failure.value))


@pytest.mark.container
@pytest.mark.usefixtures("containers")
def test_an_image_that_foundry_refuses_is_not_pushed(module: Path, registry: Registry) -> None:
    (module / "Dockerfile").write_text(DOCKERFILE.replace("USER 5000", "USER root"))
    with pytest.raises(CmError, match='USER is "root", a name'):
        publish(plan_for(module, registry, "refused"), err)
    assert "refused" not in registry.stored()
