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
    """The module in pytest's root folder, running under the local Foundry for all tests."""
    running = Foundry(request.config.rootpath)
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
    """The pipeline module in pytest's root folder, with a copy of its `data/` and no outputs yet."""
    folder = request.config.rootpath
    if (folder / "data").is_dir():
        shutil.copytree(folder / "data", tmp_path / "data", symlinks=True)
    return Pipeline(folder, tmp_path)
