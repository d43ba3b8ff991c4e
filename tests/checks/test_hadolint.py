"""hadolint's own findings, where it is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from foundry_cm import checks

DOCKERFILE = """\
FROM --platform=linux/amd64 python:3.12-slim
WORKDIR app
RUN apt-get update && cd /tmp && apt-get install curl
MAINTAINER somebody
CMD ["python", "one.py"]
CMD ["python", "two.py"]
"""


def codes(module: Path) -> list[tuple[int, str]]:
    found = checks.run(module)
    return [(f.line, f.message.partition(":")[0]) for f in found if f.code == "CM115"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no wheel for it")
def test_only_faults_are_taken_over_and_no_questions_of_taste(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    assert codes(tmp_path) == [(2, "DL3000"), (6, "DL4003")]


def test_without_hadolint_nothing_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    assert codes(tmp_path) == []
