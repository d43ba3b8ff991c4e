"""The pages of the checks are those that the checks write."""

from __future__ import annotations

from docs.pages import ROOT, expected


def test_the_pages_are_what_the_checks_say() -> None:
    pages = (ROOT / "docs/checks").glob("*.md")
    there = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in pages}
    assert there == expected(), "make docs-checks"
