"""`cm weights pull` and `verify`: the files of the origin, locked by hash, or the reason in one line."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foundry_cm.cli import app
from foundry_cm.errors import CmError
from foundry_cm.image.build import Report
from foundry_cm.image.image import Image
from foundry_cm.module.project import Project
from foundry_cm.weights.request import check
from tests.models.conftest import REPO, Module
from tests.models.hub import COMMIT, Hub, status
from tests.models.weights import SAFETENSORS, fetch, pull_into

pytestmark = pytest.mark.usefixtures("no_waiting")

# The hub of these tests is one for the client that everybody uses.


def test_the_hub_answers_the_real_client(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(REPO, revision="main", cache_dir=tmp_path, endpoint=hub.url)
    for path in ("config.json", SAFETENSORS, "onnx/model.safetensors"):
        assert (Path(folder) / path).read_bytes() == (hub.repos[REPO] / path).read_bytes()


# cm weights pull


def test_pull_fills_models_and_locks_the_commit(hub: Hub, module: Module) -> None:
    module.ask(strategy="baked", origin="huggingface", repo=REPO, revision="main")
    pulled = pull_into(module)
    lock = module.lock()
    assert pulled.relocked
    assert module.files() == {"config.json", SAFETENSORS}
    assert lock["origin"]["revision"] == COMMIT
    assert lock["origin"]["url"] == f"{hub.url}/{REPO}/resolve/{COMMIT}/"
    content = (hub.repos[REPO] / SAFETENSORS).read_bytes()
    assert lock["files"][1] == {
        "path": SAFETENSORS,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    check(Project.read(module.folder))


def test_pull_takes_what_the_lock_says_and_asks_no_hub_when_it_is_there(
    hub: Hub, module: Module
) -> None:
    pull_into(module)
    hub.requests.clear()
    assert not pull_into(module).relocked
    assert hub.requests == []


def test_pull_mends_only_the_file_that_is_broken(hub: Hub, module: Module) -> None:
    pull_into(module)
    (module.folder / "models" / "config.json").write_text("{}")
    hub.requests.clear()
    pull_into(module)
    assert {path.rsplit("/", 1)[1] for _, path, _ in hub.requests} == {"config.json"}
    check(Project.read(module.folder))


def test_pull_locks_again_when_pyproject_asks_for_something_else(hub: Hub, module: Module) -> None:
    pull_into(module)
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    with pytest.raises(CmError, match="written for other weights"):
        check(Project.read(module.folder))
    assert pull_into(module).relocked
    assert module.files() == {"config.json"}


def test_pull_with_update_follows_the_origin(hub: Hub, module: Module) -> None:
    folder = shutil.copytree(hub.repos[REPO], module.folder / "moving")
    hub.repos["moving"] = folder
    module.ask(origin="huggingface", repo="moving", revision="main")
    pull_into(module)
    (folder / "config.json").write_text('{"hidden_size": 4}\n')
    assert not pull_into(module).relocked
    assert pull_into(module, update=True).relocked
    assert (module.folder / "models/config.json").read_text() == '{"hidden_size": 4}\n'


def test_pull_from_https_takes_named_files(hub: Hub, module: Module) -> None:
    module.ask(origin="https", url=f"{hub.url}/plain/small", files=[SAFETENSORS])
    pull_into(module)
    assert module.lock()["origin"] == {"kind": "https", "url": f"{hub.url}/plain/small/"}
    assert module.files() == {SAFETENSORS}


def test_pull_for_a_downloaded_strategy_fills_the_cache_that_the_module_uses(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS_CACHE", str(module.folder / "cache"))
    module.ask(strategy="downloaded", origin="huggingface", repo=REPO, revision=COMMIT)
    pulled = pull_into(module)
    assert pulled.folder == module.folder / "cache" / pulled.lock.name
    hub.requests.clear()
    assert fetch(pulled.lock, module.folder / "cache") == pulled.folder
    assert hub.requests == []


def test_a_failed_pull_changes_nothing(hub: Hub, module: Module) -> None:
    pull_into(module)
    before = module.lock()
    module.ask(origin="huggingface", repo=REPO, revision="main")
    hub.fail("config.json", status(404))
    with pytest.raises(CmError, match="answered 404"):
        pull_into(module)
    assert module.lock() == before
    assert module.files() == {"config.json", SAFETENSORS}


def test_a_pickle_is_taken_only_by_name(hub: Hub, module: Module) -> None:
    (hub.repos[REPO].parent / "pickled").mkdir(exist_ok=True)
    hub.repos["acme/pickled"] = hub.repos[REPO].parent / "pickled"
    (hub.repos["acme/pickled"] / "best.pt").write_bytes(b"\x80\x04a pickle")
    module.ask(origin="huggingface", repo="acme/pickled", revision="main")
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == (
        "acme/pickled has no safetensors, only pickles, which run code as they load: best.pt"
    )
    module.ask(origin="huggingface", repo="acme/pickled", revision="main", files=["best.pt"])
    assert pull_into(module).pickles == ["best.pt"]


@pytest.mark.parametrize(
    ("table", "what", "fix"),
    [
        (
            {"origin": "hugingface"},
            'origin cannot be "hugingface"',
            'Did you mean "huggingface"?',
        ),
        (
            {"origin": "huggingface", "repo": "acme/smal", "revision": "main"},
            "the hub answered 404 for acme/smal",
            "Correct `repo` in pyproject.toml, or, where it is private or gated, "
            "give the token of a reader in HF_TOKEN.",
        ),
        (
            {"origin": "huggingface", "repo": REPO, "revision": "v2"},
            "acme/small has no revision v2",
            "Correct `revision` in pyproject.toml.",
        ),
        (
            {"origin": "huggingface", "repo": REPO, "revision": "main", "files": ["confg.json"]},
            'acme/small has no file "confg.json"',
            'Did you mean "config.json"?',
        ),
        (
            {"origin": "huggingface", "repo": REPO},
            "revision is missing",
            'Write, for example: revision = "main"',
        ),
        (
            {"origin": "huggingface", "repo": "../api", "revision": "main"},
            "repo is not OWNER/NAME",
            None,
        ),
        (
            {"origin": "https", "url": "https://example.org/", "files": ["*.bin"]},
            "An https origin cannot be listed, so files has to name each file",
            'Write, for example: files = ["best.safetensors"]',
        ),
        (
            {"origin": "https", "url": "https://example.org/"},
            "files is missing",
            'Write, for example: files = ["best.safetensors"]',
        ),
        (
            {"origin": "https", "url": "http://example.org/", "files": ["a.bin"]},
            "url is not an https address",
            "Weights travel over https only, from a host and a path.",
        ),
        (
            {"strategy": "bakd", "origin": "https"},
            'strategy cannot be "bakd"',
            'Did you mean "baked"?',
        ),
        (
            {"origin": "https", "url": "https://example.org/", "file": ["a.bin"]},
            'There is no key "file"',
            'Did you mean "files"?',
        ),
        (
            {"origin": "https", "url": "https://example.org/", "files": ["../a.bin"]},
            "In files, the path '../a.bin' does not stay inside the folder",
            "Name files below the origin.",
        ),
    ],
)
def test_a_request_that_cannot_be_met_says_what_to_change(
    hub: Hub, module: Module, table: dict[str, Any], what: str, fix: str | None
) -> None:
    module.ask(**table)
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert (refused.value.what, refused.value.fix) == (what, fix)
    assert not (module.folder / "weights.lock").exists()


# cm weights verify


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda models: (models / "config.json").unlink(), "models/config.json is missing"),
        (
            lambda models: (models / "config.json").write_text("{}"),
            "models/config.json has 2 bytes, but weights.lock has 19",
        ),
        (
            lambda models: (models / "config.json").write_text('{"hidden_size": 4}\n'),
            "models/config.json has SHA-256 ",
        ),
        (
            lambda models: (models / "pytorch_model.bin").write_bytes(b"a pickle"),
            "models/pytorch_model.bin is not in weights.lock",
        ),
        (shutil.rmtree, "models is missing"),
    ],
)
def test_verify_names_the_file_that_differs(
    hub: Hub, module: Module, damage: Callable[[Path], Any], what: str
) -> None:
    pull_into(module)
    damage(module.folder / "models")
    with pytest.raises(CmError) as refused:
        check(Project.read(module.folder))
    assert what in refused.value.what


# The command.


def test_the_command_pulls_and_verifies(hub: Hub, module: Module) -> None:
    def cm(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "foundry_cm", "weights", *words]
        env = {**os.environ, "NO_COLOR": "1"}
        return subprocess.run(command, cwd=module.folder, env=env, capture_output=True, text=True)

    pulled = cm("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert "2 files, 3.0 MB, as weights.lock says" in pulled.stderr
    assert "Wrote weights.lock; commit it, and not the files." in pulled.stderr
    assert cm("verify").returncode == 0
    (module.folder / "models" / "config.json").write_text("{}")
    refused = cm("verify")
    assert refused.returncode == 1
    assert "models/config.json has 2 bytes, but weights.lock has 19" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_build_is_told_that_other_weights_are_asked_for(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull_into(module)
    image = Image("m:1", "1", "linux", "amd64", "5000", (), (), {}, ())
    monkeypatch.setattr(
        "foundry_cm.cli.build.images.build", lambda *_, **__: Report(image, None, ())
    )
    monkeypatch.setattr("foundry_cm.cli.build.find_engine", lambda _: None)

    def told() -> str:
        done = CliRunner().invoke(app, ["build", "--tag", "1", "-C", str(module.folder)])
        assert done.exit_code == 0, done.output
        return done.stderr

    other = "weights.lock was written for other weights than pyproject.toml asks for\n"
    assert other not in told()
    module.ask(strategy="baked", origin="huggingface", repo=REPO, revision="other")
    assert f"{other}next: cm weights pull" in told()
