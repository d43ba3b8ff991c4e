"""What an image installs: the files of requirements that its Dockerfile names, and what they ask for."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from foundry_cm.checks.container import Container, containers, shell_text
from foundry_cm.checks.distributions import closure
from foundry_cm.checks.module import Module
from foundry_cm.module.requirement_lines import statements

# Bases that bring no libraries of Python: what the image has is what its Dockerfile installs.
_BARE = re.compile(
    r"(.*/)?(python|pypy|debian|ubuntu|alpine|cuda|uv|scratch|busybox|amazonlinux|rockylinux|fedora"
    r"|ubi\d*(-minimal)?|base)([:@].*)?"
)
_OTHER_WAYS = re.compile(
    r"\b(conda|mamba|micromamba|pixi|pipenv|pdm|poetry|easy_install|pipx)\b"
    r"|(apt-get|apt|apk|dnf|yum)\b[^&;]*\bpy(thon)?3?-(?!pip|venv|dev|full|minimal|setuptools|wheel)\w"
)
_PIP = re.compile(r"\b(?:pip3?|uv pip) install\b([^&|;\n]*)")
_INDEX = {"-i": "index", "--index-url": "index", "--extra-index-url": "extra", "--default-index": "index", "--index": "extra"}  # fmt: skip
_WITH_VALUE = {"--target", "-t", "--prefix", "--root", "--find-links", "-f", "--python", "-c", "--constraint",
               "--platform", "--python-version", "--only-binary", "--no-binary", "--timeout", "--retries",
               "--trusted-host", "--cache-dir", "--proxy", "--cert", "--extra", "--group"}  # fmt: skip
_LOCKED = re.compile(r"(^|/)(.*\.lock|requirements[-_.]lock.*\.txt|pylock\..*toml)$")


@dataclass(frozen=True)
class Asked:
    """A library that is asked for, and where."""

    name: str
    path: str
    line: int
    extras: frozenset[str] = frozenset()
    specifier: SpecifierSet = SpecifierSet()  # noqa: RUF009  (nothing changes it)
    from_url: bool = False


@dataclass(frozen=True)
class Index:
    """A package index: in its file it stands beside PyPI (`extra`) or in its place."""

    url: str
    path: str
    line: int
    extra: bool


@dataclass
class Requirements:
    """What a module's image installs. `is_whole` says whether it can have nothing else."""

    asked: list[Asked] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    is_whole: bool = True

    def of(self, *names: str) -> list[Asked]:
        """Each place that asks for one of these libraries."""
        return [asked for asked in self.asked if asked.name in names]

    @cached_property
    def installed(self) -> set[str]:
        """All libraries that get installed."""
        return self._closure[0]

    @cached_property
    def unknown(self) -> set[str]:
        """Those of which it is not known what they bring along."""
        return self._closure[1]

    @cached_property
    def _closure(self) -> tuple[set[str], set[str]]:
        return closure((asked.name, asked.extras) for asked in self.asked)

    def read(self, module: Module, path: str) -> None:
        """Take up a file of requirements, and those that it names."""
        if path in self.paths:
            return
        self.paths.append(path)
        for number, line in statements(module.text(path) or ""):
            self.add(line, module, path, number)

    def add(self, line: str, module: Module, path: str, number: int) -> None:
        """Take up one line."""
        if not line.startswith("-"):
            self._add_library(line, path, number)
            return
        option, _, value = re.sub(r"^(-\w|--[\w-]+)[ =]*", r"\1 ", line).partition(" ")
        value = value.strip()
        if option in {"-r", "--requirement"}:
            self.read(module, posixpath.normpath(posixpath.join(posixpath.dirname(path), value)))
        elif option in _INDEX:
            self.indexes.append(Index(value, path, number, _INDEX[option] == "extra"))
        elif option in {"-e", "--editable"}:
            self._add_library(value, path, number)

    def _add_library(self, text: str, path: str, number: int) -> None:
        text = re.split(r"\s--\w", text)[0].strip()
        egg = re.match(r"(?:git\+|https?://|file:).*[#&]egg=([\w.-]+)", text)
        try:
            found = Requirement(egg[1] if egg else text)
        except InvalidRequirement:
            # A path or an address: what it installs is not said.
            self.is_whole = False
            return
        self.asked.append(
            Asked(
                canonicalize_name(found.name),
                path,
                number,
                frozenset(found.extras),
                found.specifier,
                from_url=bool(egg or found.url),
            )
        )


def requirements(module: Module) -> Requirements | None:
    """What the image of a module installs; None where no file says so."""
    return module.once(_requirements)


def is_template(path: str) -> bool:
    """Whether a file of requirements is the template's, which an update replaces."""
    return path.startswith("requirements-template")


def is_lock(path: str) -> bool:
    """Whether a file of requirements was written by a tool, which pins all that gets installed."""
    return bool(_LOCKED.search(path))


def _requirements(module: Module) -> Requirements | None:
    found = Requirements()
    for container in containers(module):
        _of_container(container, found)
    if not found.paths and not found.asked:
        if module.text("requirements.txt") is not None:
            found.read(module, "requirements.txt")
        elif not _of_project(module, found):
            return None
        found.is_whole = found.is_whole and not containers(module)
    return found


def _of_container(container: Container, found: Requirements) -> None:
    module = container.module
    for stage in container.stages:
        if stage.parent is None and not _BARE.fullmatch(stage.base):
            found.is_whole = False
        names = container.files_of(stage)
        for step in stage.steps:
            text = shell_text(step.instruction) if step.instruction.name == "RUN" else ""
            if _OTHER_WAYS.search(text):
                found.is_whole = False
            if re.search(r"\buv sync\b", text):
                _of_project(module, found)
            for match in _PIP.finditer(text.replace("\\\n", " ")):
                _of_pip(_words(match[1]), container, step.instruction.line, names, found)
            for words in _chosen(text, module):
                _of_pip(words, container, step.instruction.line, names, found)


def _chosen(text: str, module: Module) -> Iterator[list[str]]:
    """What a shell may put into "$@" for pip: `set -- -r FILE`, for each file that is there."""
    for match in re.finditer(r"\bset -- ([^;&\n]+)", text) if '"$@"' in text else ():
        words = _words(match[1])
        if any(posixpath.basename(path) in words for path in module.files):
            yield words


def _of_pip(
    words: list[str], container: Container, line: int, names: dict[str, str], found: Requirements
) -> None:
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if word.startswith("-r") and len(word) > 2 and not word.startswith("--"):
            option, value, equals = "-r", word[2:], "="
        if option in {"-r", "--requirement"}:
            _of_file(value if equals else next(left, ""), container, names, found)
        elif option in _INDEX:
            url = value if equals else next(left, "")
            found.indexes.append(Index(url, container.path, line, _INDEX[option] == "extra"))
        elif option in _WITH_VALUE:
            value = value if equals else next(left, "")
        elif word in {".", "./"} or word.startswith(".["):
            found.is_whole = _of_project(container.module, found) and found.is_whole
        elif not word.startswith("-") and not word.startswith("$"):
            found.add(word, container.module, container.path, line)


def _of_file(name: str, container: Container, names: dict[str, str], found: Requirements) -> None:
    """A file that pip reads in the image: the module's file of that path, or of that name."""
    inside = [path for place, path in names.items() if place.endswith(f"/{name.lstrip('./')}")]
    beside = [
        path
        for path in container.module.files
        if posixpath.basename(path) == posixpath.basename(name)
    ]
    paths = inside or beside
    if paths:
        found.read(container.module, min(paths, key=len))
    else:
        found.is_whole = False


def _of_project(module: Module, found: Requirements) -> bool:
    """Take up the dependencies in `pyproject.toml`; gives whether it has a list of them."""
    asked = module.pyproject.get("project", {}).get("dependencies")
    if not isinstance(asked, list):
        return False
    found.paths.append("pyproject.toml")
    lines = module.lines("pyproject.toml")
    for text in filter(lambda text: isinstance(text, str), asked):
        number = next((n for n, line in enumerate(lines, 1) if text in line), 1)
        found.add(text, module, "pyproject.toml", number)
    return True


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
