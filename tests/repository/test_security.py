"""docs/security.md promises nothing that no test keeps."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY


def test_every_test_that_the_threat_model_names_is_there() -> None:
    page = (REPOSITORY / "docs/security.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "Test |" not in line]
    named = [set(re.findall(r"`(test_\w+)`", row)) for row in rows]
    texts = [path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")]
    known = set(re.findall(r"def (test_\w+)\(", "\n".join(texts)))
    assert [row for row, names in zip(rows, named, strict=True) if not names] == []
    assert sorted(set().union(*named) - known) == []
