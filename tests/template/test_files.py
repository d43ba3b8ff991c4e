"""The files of the template: which hold Jinja, and what they may be called."""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY, git

FILES = [
    name
    for name in git(REPOSITORY, "ls-files", "-z", "template", "partials").split("\0")
    if name and (REPOSITORY / name).is_file()
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_jinja_ends_in_jinja_and_no_other(name: str) -> None:
    content = (REPOSITORY / name).read_bytes()
    holds = re.search(rb"{{|{%|{#", content) is not None
    assert holds == name.endswith(".jinja") or name.endswith(".png")


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_checked_out_on_windows(name: str) -> None:
    assert not re.search(r'[<>:"|?*\\]', name)
