"""Secrets are planted wherever a module uses them, and looked for wherever they must not be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Render, commit
from tests.container.test_rendered import serving
from tests.containers import REPOSITORY, TOKEN, Registry

pytestmark = [
    pytest.mark.container,
    pytest.mark.slow,
    pytest.mark.usefixtures("containers"),
]
CM = [sys.executable, "-m", "foundry_cm"]
CANARY = re.compile(rb"canary-[a-z-]+")


def test_no_planted_secret_is_found_again(
    render: Render, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = render(
        tmp_path / "parts",
        python_version="3.13",
        permissions="application",
        sources=["Api"],
        enrollment_host="acme.palantirfoundry.com",
    )
    plant(module, monkeypatch)
    index = tmp_path / "pip.conf"
    index.write_text(
        "[global]\nretries = 0\nextra-index-url = https://user:canary-index@127.0.0.1:9/simple\n"
    )
    secret = ["--secret", f"id=pip-conf,src={index}"]

    printed = [
        cm(module, "publish", "--dry-run", "--registry", registry.host, "--engine", "buildah"),
        cm(module, "build", "--tag", "1", "--engine", "buildah", *secret),
        cm(module, "publish", "--registry", registry.host, "--engine", "buildah", *secret),
        served(module),
    ]
    monkeypatch.setenv("TOKEN", "canary-wrong-token")
    printed.append(
        cm(
            module,
            "publish",
            "--tag",
            "2",
            "--registry",
            registry.host,
            "--engine",
            "buildah",
            code=1,
        )
    )

    assert "https://user:****@127.0.0.1:9/simple" in printed[1]  # pip read its secret file
    assert found("\n".join(printed).encode()) == []
    assert found((module / ".copier-answers.yml").read_bytes()) == []
    assert found(registry.log().encode()) == []
    layers = tmp_path / "layers"
    image = f"localhost/{module.name}:1"
    push = ["buildah", "push", "--quiet", "--disable-compression", image, f"dir:{layers}"]
    subprocess.run(push, check=True)
    assert {path.name for path in layers.iterdir()} > {"manifest.json"}
    assert [found(path.read_bytes()) for path in layers.iterdir() if found(path.read_bytes())] == []


def plant(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in each place that has a use for one."""
    monkeypatch.setenv("REPOSITORY", REPOSITORY)
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("FOUNDRY_TOKEN", "canary-person")
    (module / "sources.local.toml").write_text(
        '[Api]\nurl = "https://127.0.0.1:9"\nheaders = { Authorization = "canary-login" }\n'
        'secrets = { key = "canary-secret" }\n'
    )
    (module / ".env").write_text("SECRET=canary-env\n")
    settings = module / "pyproject.toml"
    asked = 'permissions = "application"\n'
    settings.write_text(settings.read_text().replace(asked, f"{asked}scratch = true\n"))
    requirements = module / "requirements.txt"
    requirements.write_text(requirements.read_text() + f"# never built before: {time.time()}\n")
    commit(module, "First")
    # Objects of a person's own, which git is not to see either.
    (module / ".git" / "info" / "exclude").write_text("data/\n")
    objects = module / "data" / "ontology"
    objects.mkdir(parents=True)
    (objects / "schema.toml").write_text(
        '[objects.Part]\nprimary-key = "id"\nproperties = { id = "string" }\n'
    )
    (objects / "Part.jsonl").write_text('{"id": "canary-object"}\n')
    assert subprocess.run(["git", "grep", "-q", "parts"], cwd=module).returncode == 0
    assert subprocess.run(["git", "grep", "-q", "canary"], cwd=module).returncode == 1


def cm(module: Path, *argv: str, code: int = 0) -> str:
    done = subprocess.run([*CM, *argv], cwd=module, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def served(module: Path) -> str:
    """What `cm serve --container` and a call of it print."""
    image = f"localhost/{module.name}:1"
    printed = []
    with serving("--container", image, "--engine", "buildah", "-C", str(module)) as server:
        assert server.stderr
        for line in server.stderr:
            printed.append(line)
            if "cm call search" in line:
                break
        printed.append(cm(module, "call", "search"))
        assert json.loads(printed[-1][: printed[-1].rindex("]") + 1])
        server.terminate()
        printed.append(server.stderr.read())
    assert server.wait() == 0
    return "".join(printed)


def found(data: bytes) -> list[bytes]:
    return CANARY.findall(data)


def test_the_search_would_find_a_secret() -> None:
    assert found(b"x canary-index y") == [b"canary-index"]
    assert os.environ.get("TOKEN", "") != TOKEN
