"""Weights in a dataset of Foundry: pulled by a person, downloaded by a replica."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.platform.faults import parse_fault
from foundry_cm.local.platform.resources import Resource
from foundry_cm.module.project import Project
from foundry_cm.weights.pull import pull
from foundry_cm.weights.request import check
from tests.conftest import Render
from tests.models.conftest import TORCH, Module
from tests.models.hub import safetensors
from tests.models.weights import silent
from tests.platforms import LocalPlatform, running_platform

DATASET = Resource("weights").rid
CONTENT = {"model.safetensors": safetensors(300_000), "config.json": b"{}\n"}


@pytest.fixture(autouse=True)
def platform(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalPlatform]:
    """A Foundry with the model in a dataset, and a person who may read it."""
    folder = tmp_path_factory.mktemp("platform")
    with running_platform(folder, [Resource("weights")]) as platform:
        for path, content in CONTENT.items():
            platform.put(f"weights/{path}", content)
        monkeypatch.setenv("FOUNDRY_HOSTNAME", platform.host)
        monkeypatch.setenv("FOUNDRY_TOKEN", platform.tokens.issue())
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(variable, str(platform.ca))
        monkeypatch.delenv("FOUNDRY_SERVICE_DISCOVERY_V2", raising=False)
        yield platform


def ask(module: Module, **table: str) -> None:
    module.ask(**{"origin": "foundry", "dataset": DATASET, "branch": "master", **table})


def test_pull_pins_the_transaction(module: Module, platform: LocalPlatform) -> None:
    ask(module)
    pull(Project.read(module.folder), silent)
    assert module.lock()["origin"] == {
        "kind": "foundry",
        "dataset": DATASET,
        "transaction": platform.registry.dataset(DATASET).head("master"),
    }
    assert module.files() == set(CONTENT)
    check(Project.read(module.folder))


def test_pull_fetches_again_what_is_locked(module: Module) -> None:
    ask(module)
    pull(Project.read(module.folder), silent)
    (module.folder / "models" / "config.json").unlink()
    assert not pull(Project.read(module.folder), silent).relocked
    check(Project.read(module.folder))


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({"branch": "other"}, f"branch other of {DATASET} is not there"),
        ({"dataset": "parts"}, "branch master of parts cannot be asked for"),
    ],
)
def test_what_cannot_be_read_is_said(module: Module, table: dict[str, str], what: str) -> None:
    ask(module, **table)
    with pytest.raises(CmError) as refused:
        pull(Project.read(module.folder), silent)
    assert refused.value.what == what


def test_dataset_without_a_role_on_it_is_said_to_be_closed(
    module: Module, platform: LocalPlatform
) -> None:
    platform.faults.faults.append(parse_fault("403@list"))
    ask(module)
    with pytest.raises(CmError) as refused:
        pull(Project.read(module.folder), silent)
    assert refused.value.what == f"branch master of {DATASET} cannot be read with these permissions"


def test_pull_without_a_token_says_how_to_give_one(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_TOKEN")
    ask(module)
    with pytest.raises(CmError, match="Reading a dataset needs a Foundry and your token"):
        pull(Project.read(module.folder), silent)


def replica(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Fetch the weights as a replica does when it starts."""
    code = "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stdout); "
    code += (
        "sys.path.insert(0, 'src'); from cmkit.model import weights_folder; print(weights_folder())"
    )
    env = {**os.environ, "WEIGHTS_CACHE": str(folder / "cache"), **variables}
    for name in ("FOUNDRY_HOSTNAME", "FOUNDRY_TOKEN", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        del env[name]
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )


def test_replica_downloads_with_its_application_permissions(
    render: Render, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = render(
        **TORCH,
        weights_strategy="downloaded",
        weights_origin="foundry",
        weights_dataset=DATASET,
    )
    monkeypatch.setenv("WEIGHTS_CACHE", str(folder / "laptop"))
    pull(Project.read(folder), silent)

    refused = replica(folder)
    assert refused.returncode == 1
    assert "No weights: CLIENT_ID and CLIENT_SECRET are not set." in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr

    done = replica(folder, **platform.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    got = Path(done.stdout.splitlines()[-1])
    assert {path.name: path.read_bytes() for path in got.iterdir()} == CONTENT

    # With a good copy there is nothing to ask for, and so nobody to be.
    assert "using the verified copy" in replica(folder).stdout
