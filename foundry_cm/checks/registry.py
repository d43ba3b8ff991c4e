"""The checks there are: each is a function in `rules/` under the decorator `check`."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module

RULES = "foundry_cm.checks.rules"

Files = Mapping[str, str]
"""A small module: the text of each file by its path."""

Run = Callable[[Module], Iterator[Finding]]


@dataclass(frozen=True)
class Bad:
    """A module with one mistake, and the places where it is found, such as `src/app.py:9`."""

    files: Files
    at: tuple[str, ...]

    def __init__(self, at: str, files: Files) -> None:
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "at", tuple(at.split()))


@dataclass(frozen=True)
class Check:
    """A check: what it is called, how bad its findings are, and the modules that show and test it.

    The text of its page in the documentation is the docstring of its function. A check that needs
    more than a tree of files (git, a render, a run) has a test that is named in `proof` instead.
    """

    code: str
    name: str
    severity: Severity
    run: Run
    bad: tuple[Bad, ...]
    good: tuple[Files, ...]
    proof: str
    live: bool

    @property
    def subject(self) -> str:
        """The file of `rules/` that it is in."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def text(self) -> str:
        """What it looks for and why."""
        return inspect.getdoc(self.run) or ""


_REGISTERED: dict[str, Check] = {}


def check(
    code: str,
    name: str,
    *,
    severity: Severity = Severity.ERROR,
    bad: Bad | tuple[Bad, ...] = (),
    good: Files | tuple[Files, ...] = (),
    proof: str = "",
    live: bool = False,
) -> Callable[[Run], Run]:
    """Register the function below as a check. `code` never changes its meaning, and is never used again."""
    if not re.fullmatch(r"CM[0-6]\d\d", code) or not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        raise ValueError(f"{code} {name}: a code is CM and three digits, a name is words and -")
    if code in _REGISTERED or name in {other.name for other in _REGISTERED.values()}:
        raise ValueError(f"there is a check {code} or {name} already")

    def register(run: Run) -> Run:
        _REGISTERED[code] = Check(
            code=code,
            name=name,
            severity=severity,
            run=run,
            bad=(bad,) if isinstance(bad, Bad) else bad,
            good=good if isinstance(good, tuple) else (good,),
            proof=proof,
            live=live,
        )
        return run

    return register


@cache
def checks() -> tuple[Check, ...]:
    """Every check, by its code. Each file of `rules/` is read; there is no list of them."""
    package = import_module(RULES)
    for file in pkgutil.walk_packages(package.__path__, f"{RULES}."):
        import_module(file.name)
    return tuple(sorted(_REGISTERED.values(), key=lambda check: check.code))
