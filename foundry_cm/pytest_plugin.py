"""The fixture `foundry` for a module's own tests; pytest finds it once foundry-cm is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foundry_cm.errors import CmError
from foundry_cm.testing import Foundry


@pytest.fixture(scope="session")
def foundry(request: pytest.FixtureRequest) -> Iterator[Foundry]:
    """The module in pytest's root folder, running under the local Foundry for all tests."""
    running = Foundry(request.config.rootpath)
    try:
        running.__enter__()
    except CmError as error:
        pytest.exit(
            "\n".join(filter(None, [error.what, error.where, error.fix, error.details])),
            returncode=1,
        )
    yield running
    running.__exit__()
