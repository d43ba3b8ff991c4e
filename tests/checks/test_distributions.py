"""What an import comes from, and what a library brings along."""

from __future__ import annotations

from foundry_cm.checks.distributions import closure, imports_of, libraries_of

NONE: frozenset[str] = frozenset()


def test_what_is_installed_says_itself_what_it_is_imported_by() -> None:
    assert imports_of("pyyaml") == {"yaml", "_yaml"}
    assert imports_of("packaging") == {"packaging"}
    assert imports_of("no-such-library") == set()


def test_an_import_can_have_another_name_than_its_library() -> None:
    assert libraries_of("yaml") == {"pyyaml"}
    assert libraries_of("acme_tools") == {"acme-tools"}


def test_a_library_brings_others_along_and_its_extras_more() -> None:
    installed, unknown = closure([("requests", NONE), ("no-such-library", NONE)])
    assert {"requests", "urllib3", "no-such-library"} <= installed
    assert unknown == {"no-such-library"}
    assert "pysocks" not in installed
    assert "pysocks" in closure([("requests", frozenset({"socks"}))])[0]


def test_a_library_that_is_not_installed_is_known_by_what_it_is_for() -> None:
    installed, unknown = closure([("ultralytics", NONE)])
    assert {"opencv-python", "torch", "numpy"} <= installed
    assert "ultralytics" not in unknown
