"""`cm check` against whole modules: it finds each mistake on its line, and nothing in what is right.

`make check-corpus` tries every mistake in every module and prints the figures; here it is every
eleventh, another one in each module.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm.checks import carried
from tests.checks import corpus
from tests.conftest import Render

STEP = 11


@pytest.fixture(autouse=True)
def _tool_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "find", lambda: None)


def test_every_mistake_is_caught_and_nothing_else(render: Render, tmp_path: Path) -> None:
    good = list(corpus.good(tmp_path, render))
    assert len(good) >= 40
    assert {
        label: found for label, module in good if (found := corpus.false_findings(module))
    } == {}
    caught, missed = 0, []
    for first, (label, module) in enumerate(good):
        for mistake, found in corpus.bad(module, first, STEP):
            if corpus.is_caught(mistake, found):
                caught += 1
            else:
                missed.append((label, mistake.code, mistake.path, mistake.at))
    assert missed == []
    assert caught >= 100
