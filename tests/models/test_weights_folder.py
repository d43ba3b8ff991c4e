"""Weights come from a folder or a file share, held to weights.lock like any others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from tests.models.conftest import Module
from tests.models.hub import safetensors
from tests.models.weights import pull_into


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A folder with a small model, and what lies beside one."""
    folder = tmp_path / "share" / "a model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling/config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors(3_000_000))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / ".DS_Store").write_bytes(b"of a desktop")
    return folder


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """A module beside the share."""
    (tmp_path / "module").mkdir()
    return Module(tmp_path / "module")


def refusal(module: Module) -> CmError:
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert not (module.folder / "weights.lock").exists()
    return refused.value


@pytest.mark.parametrize("relative", [False, True])
def test_a_folder_gives_what_a_model_needs(module: Module, share: Path, relative: bool) -> None:
    named = "../share/a model" if relative else str(share)
    module.ask(origin="folder", folder=named)
    pulled = pull_into(module)
    assert module.files() == {"1_Pooling/config.json", "config.json", "model.safetensors"}
    assert module.lock()["origin"] == {"kind": "folder", "folder": named}
    # What the lock says comes again from there, and only that.
    shutil.rmtree(module.folder / "models")
    assert not pull_into(module).relocked
    shutil.rmtree(module.folder / "models")
    (share / "config.json").write_text("[]")
    with pytest.raises(CmError, match="config.json from .* has SHA-256 .*, but weights.lock has"):
        pull_into(module)
    assert {file.path for file in pulled.lock.files} == {
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
    }


def test_a_file_that_is_named_is_taken_also_if_it_is_a_pickle(module: Module, share: Path) -> None:
    module.ask(origin="folder", folder=str(share), files=["*.bin"])
    assert pull_into(module).pickles == ["pytorch_model.bin"]


def test_a_share_that_is_not_mounted_is_said_to_be_away(module: Module, share: Path) -> None:
    module.ask(origin="folder", folder=str(share / "v2"))
    error = refusal(module)
    assert error.what == f"there is no folder {share / 'v2'} on this machine ({share} is there)"
    assert error.fix == "Mount the share that has it, or correct `folder` in pyproject.toml."


def test_nothing_private_is_taken_from_a_folder(module: Module, share: Path) -> None:
    secrets = share.parent / ".secrets"
    secrets.mkdir()
    (secrets / "config.json").write_text('{"token": "secret"}')
    module.ask(origin="folder", folder=str(secrets), files=["config.json"])
    assert refusal(module).what.endswith("is a hidden folder, where programs keep what is private")
    # Nor through a link that came with a repository.
    (module.folder / "weights").symlink_to(secrets)
    module.ask(origin="folder", folder="weights", files=["config.json"])
    assert refusal(module).what.endswith("is a hidden folder, where programs keep what is private")
    (share / "config.json").unlink()
    (share / "config.json").symlink_to(secrets / "config.json")
    module.ask(origin="folder", folder=str(share))
    assert refusal(module).what == (
        f"config.json in {share} is a link that leads out of that folder"
    )


def test_a_replica_downloads_from_no_folder(module: Module, share: Path) -> None:
    module.ask(strategy="downloaded", origin="folder", folder=str(share))
    assert refusal(module).what == (
        "A replica sees no folder of this machine, so it cannot download from one"
    )


@pytest.mark.parametrize("url", ["file:///mnt/model", "/mnt/model", "~/model"])
def test_a_path_in_place_of_an_address_is_told_its_way_in(module: Module, url: str) -> None:
    module.ask(origin="https", url=url, files=["model.safetensors"])
    error = refusal(module)
    assert error.what == "url is not an https address"
    assert error.fix == 'For a folder or file share, write origin = "folder" and folder = "/path".'
