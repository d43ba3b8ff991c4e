"""The fixtures `foundry` and `pipeline` for a module's own tests; pytest finds them once foundry-cm is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.testing import Foundry, Pipeline, told


@pytest.fixture(scope="session")
def foundry(request: pytest.FixtureRequest) -> Iterator[Foundry]:
    """The module whose tests these are, running under the local Foundry for all of them."""
    folders = {
        _module_of(item.path, request.config)
        for item in request.session.items
        if "foundry" in getattr(item, "fixturenames", ())
    }
    if len(folders) > 1:
        named = ", ".join(sorted(map(str, folders)))
        pytest.fail(f"The fixture runs one module; test these one by one: {named}", pytrace=False)
    running = Foundry(folders.pop() if folders else request.config.rootpath)
    try:
        running.__enter__()
    except CmError as error:
        # A worker of pytest-xdist that exits is an internal error there, so its tests fail instead.
        if "PYTEST_XDIST_WORKER" in os.environ:
            pytest.fail(told(error), pytrace=False)
        pytest.exit(told(error), returncode=1)
    yield running
    running.__exit__()


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Pipeline:
    """The pipeline module whose test this is, with a copy of its `data/` and no outputs yet."""
    folder = _module_of(request.path, request.config)
    if (folder / "data").is_dir():
        shutil.copytree(folder / "data", tmp_path / "data", symlinks=True)
    return Pipeline(folder, tmp_path)


def _module_of(test: Path, config: pytest.Config) -> Path:
    """The folder of the module that a test belongs to, wherever pytest was started."""
    return next(filter(_is_module, test.parents), config.rootpath)


def _is_module(folder: Path) -> bool:
    if (folder / "src" / "app.py").is_file():
        return True
    try:
        return "[tool.foundry-cm" in (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
