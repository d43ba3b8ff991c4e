"""What an image installs: the files of requirements that its Dockerfile names, and what they ask for."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from foundry_cm.checks import dependencies
from foundry_cm.checks.container import Container, containers, shell_text
from foundry_cm.checks.dependencies import ENVIRONMENTS, PIPFILE, PIXI, PROJECT, Listed
from foundry_cm.checks.distributions import closure
from foundry_cm.checks.module import Module
from foundry_cm.module.requirement_lines import statements

# Bases that bring no libraries of Python: what the image has is what its Dockerfile installs.
_BARE = re.compile(
    r"(.*/)?(python|pypy|debian|ubuntu|alpine|cuda|uv|pixi|scratch|busybox|amazonlinux|rockylinux|fedora"
    r"|ubi\d*(-minimal)?|base|micromamba|miniconda3?|miniforge3?|mambaforge)([:@].*)?"
)
# Bases with a conda of their own, and what that is made of.
_HAS_CONDA = re.compile(r"(.*/)?(miniconda3?|miniforge3?|mambaforge)([:@].*)?")
_OF_CONDA = {"certifi", "cffi", "charset-normalizer", "cryptography", "distro", "idna", "packaging",
             "platformdirs", "pluggy", "requests", "ruamel-yaml", "setuptools", "tqdm", "urllib3", "zstandard"}  # fmt: skip
_OTHER_WAYS = re.compile(
    r"\b(pixi (add|global|import|exec)|easy_install|pipx|conda-lock install|conda-pack)\b|\b(poetry|pdm|uv) add\b"
    r"|(apt-get|apt|apk|dnf|yum)\b[^&;]*\bpy(thon)?3?-(?!pip|venv|dev|full|minimal|setuptools|wheel)\w"
)
_TOOL = re.compile(
    r"\b(uv) (?:sync|export)\b([^&|;]*)|\b(poetry) (?:install|sync|export)\b([^&|;]*)"
    r"|\b(pixi) (?:install|run|shell-hook)\b([^&|;]*)"
    r"|\b(pdm) (?:install|sync|export)\b([^&|;]*)|\b(pipenv) (?:install|sync|requirements)\b([^&|;]*)"
    r"|\b(conda|mamba|micromamba)(?: -\S+)* (?:env )?(?:create|update|install)\b([^&|;]*)"
)
# What a shell writes to a file, which a version without quotes is too: `pip install numpy>=2`.
_REDIRECTED = re.compile(r"""("[^"]*"|'[^']*')|\d?>{1,2}\s*[^\s'";&|]+""")
_PIP = re.compile(r"\b(?:pip3?|uv pip) install\b([^&|;\n]*)")
_INDEX = {"-i": "index", "--index-url": "index", "--extra-index-url": "extra", "--default-index": "index", "--index": "extra"}  # fmt: skip
_WITH_VALUE = {"--target", "-t", "--prefix", "--root", "--find-links", "-f", "--python", "-c", "--constraint",
               "--platform", "--python-version", "--only-binary", "--no-binary", "--timeout", "--retries",
               "--trusted-host", "--cache-dir", "--proxy", "--cert", "--extra", "--group"}  # fmt: skip
# Of the tools other than pip, those options whose value is a word of its own.
_TAKES_ONE = {"-f", "--file", "-n", "--name", "-p", "--prefix", "-c", "--channel", "--extra", "-E", "--extras",
              "--group", "-G", "--with", "--without", "--only", "--only-group", "--no-group", "--python",
              "-o", "--output", "--output-file", "--format", "--directory", "--project", "-C", "-P",
              "--python-version", "--index", "-i", "--pypi-mirror", "--categories"}  # fmt: skip
_LOCKED = re.compile(
    r"(^|/)(.*\.lock|conda-lock\.ya?ml|requirements[-_.]lock.*\.txt|pylock\..*toml)$"
)


@dataclass(frozen=True)
class Asked:
    """A library that is asked for, and where."""

    name: str
    path: str
    line: int
    extras: frozenset[str] = frozenset()
    specifier: SpecifierSet = SpecifierSet()  # noqa: RUF009  (nothing changes it)
    from_url: bool = False
    # It may be there for another purpose than to be imported.
    beside: bool = False


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
    of_base: set[str] = field(default_factory=set)
    is_whole: bool = True

    def of(self, *names: str) -> list[Asked]:
        """Each place that asks for one of these libraries."""
        return [asked for asked in self.asked if asked.name in names]

    @cached_property
    def installed(self) -> set[str]:
        """All libraries that get installed."""
        return self._closure[0] | self.of_base

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

    def take(self, path: str, listed: list[Listed], *, command: bool = False) -> None:
        """Take up what a file of another tool lists, or a `command` of one; each line once."""
        self.paths += [path] if not command and path not in self.paths else []
        for each in listed:
            asked = _asked(each.text, path, each.line)
            if asked is None:
                self.is_whole = False
                continue
            from_url = asked.from_url or each.from_url
            asked = replace(asked, from_url=from_url, beside=each.beside)
            self.asked += [asked] if asked not in self.asked else []

    def _add_library(self, text: str, path: str, number: int) -> None:
        if asked := _asked(text, path, number):
            self.asked.append(asked)
        else:
            self.is_whole = False


def _asked(text: str, path: str, line: int) -> Asked | None:
    """A line that asks for a library; None for a path or an address, which does not say what it installs."""
    text = re.split(r"\s--\w", text)[0].strip()
    egg = re.match(r"(?:git\+|https?://|file:).*[#&]egg=([\w.-]+)", text)
    try:
        found = Requirement(egg[1] if egg else text)
    except InvalidRequirement:
        return None
    from_url = bool(egg or found.url)
    name, extras = canonicalize_name(found.name), frozenset(found.extras)
    return Asked(name, path, line, extras, found.specifier, from_url)


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
        if not _of_files(module, found):
            return None
        found.is_whole = found.is_whole and not containers(module)
    return found


def _of_files(module: Module, found: Requirements) -> bool:
    """Where no Dockerfile says what is installed: the first file that lists it; gives if there is one."""
    if module.text("requirements.txt") is not None:
        found.read(module, "requirements.txt")
        return True
    if _of_project(module, found):
        return True
    if module.text(PIPFILE) is not None:
        found.take(PIPFILE, dependencies.of_pipfile(module))
        return True
    if module.text(PIXI) is not None:
        found.take(PIXI, dependencies.of_pixi(module))
        return True
    for path in ENVIRONMENTS:
        if module.text(path) is not None:
            found.take(path, dependencies.of_environment(module, path))
            return True
    return False


def _of_container(container: Container, found: Requirements) -> None:
    module = container.module
    for stage in container.stages:
        if stage.parent is None and not _BARE.fullmatch(stage.base):
            found.is_whole = False
        if _HAS_CONDA.fullmatch(stage.root.base):
            found.of_base |= _OF_CONDA
        names = container.files_of(stage)
        for step in stage.steps:
            text = shell_text(step.instruction) if step.instruction.name == "RUN" else ""
            if step.instruction.json_form is None:
                text = _REDIRECTED.sub(lambda match: match[1] or " ", text)
            if _OTHER_WAYS.search(text):
                found.is_whole = False
            for match in _TOOL.finditer(text.replace("\\\n", " ")):
                tool, _, rest = match[0].partition(" ")
                _of_tool(tool, _words(rest), container, step.instruction.line, names, found)
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
        elif match := re.fullmatch(r"\./?(?:\[([^\]]*)\])?", word):
            extras = tuple(canonicalize_name(part) for part in re.split(r"[,\s]+", match[1] or ""))
            found.is_whole = _of_project(container.module, found, extras) and found.is_whole
        elif word not in {"$@", "$*"}:  # what a shell may put there is looked for by itself
            found.add(word, container.module, container.path, line)


def _of_tool(
    tool: str,
    words: list[str],
    container: Container,
    line: int,
    names: dict[str, str],
    found: Requirements,
) -> None:
    """What a command of another tool than pip installs; its verb is the first of the words."""
    module = container.module
    given = _options(words)
    if tool in ("conda", "mamba", "micromamba"):
        files = [*given.get("-f", ()), *given.get("--file", ())]
        for name in files or (ENVIRONMENTS[:1] if words[0] == "env" else ()):
            path = _path_of(name, module, names)
            if path is None or not path.endswith((".yml", ".yaml")):
                found.is_whole = False
            else:
                found.take(path, dependencies.of_environment(module, path))
        for word in given[""]:
            for text in dependencies.of_conda(word):
                found.take(container.path, [Listed(text, line, True)], command=True)
        return
    groups = [*given.get("--extra", ()), *given.get("-E", ()), *given.get("--extras", ())]
    groups += [*given.get("--group", ()), *given.get("-G", ()), *given.get("--with", ())]
    chosen = {canonicalize_name(part) for each in groups for part in re.split(r"[,\s]+", each)}
    if given.keys() & {"--all-extras", "--all-groups"}:
        chosen.add(canonicalize_name("*"))
    if tool == "pixi":
        if module.text(PIXI) is not None:
            found.take(PIXI, dependencies.of_pixi(module))
        else:
            found.is_whole = _of_project(module, found) and found.is_whole
        return
    if tool == "pipenv":
        found.take(PIPFILE, dependencies.of_pipfile(module, "--dev" in given or "-d" in given))
        for word in given[""]:
            found.add(word, module, container.path, line)
        return
    less = {"--no-dev", "--no-default-groups", "--only", "--without", "--prod", "--production"}
    tools = not given.keys() & less and "export" not in words
    found.is_whole = _of_project(module, found, tuple(chosen), tools) and found.is_whole


def _options(words: list[str]) -> dict[str, list[str]]:
    """The options of a command with their values, and what is none under the empty name.

    The first words are its verb. A value that follows an option is taken for its own.
    """
    rest = words[2:] if words[0] == "env" else words[1:]
    found: dict[str, list[str]] = {"": []}
    left = iter(rest)
    for word in left:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            found[""].append(word)
        elif equals:
            found.setdefault(name, []).append(value)
        else:
            found.setdefault(name, []).extend([next(left, "")] if name in _TAKES_ONE else [])
    return found


def _of_file(name: str, container: Container, names: dict[str, str], found: Requirements) -> None:
    """A file that pip reads in the image: the module's file of that path, or of that name."""
    path = _path_of(name, container.module, names)
    if path is None:
        found.is_whole = False
    elif posixpath.basename(path) == PROJECT:
        _of_project(container.module, found)
    else:
        found.read(container.module, path)


def _path_of(name: str, module: Module, names: dict[str, str]) -> str | None:
    """The module's file that a file of the image is: by its path there, or by its name alone."""
    inside = [path for place, path in names.items() if place.endswith(f"/{name.lstrip('./')}")]
    beside = [path for path in module.files if posixpath.basename(path) == posixpath.basename(name)]
    paths = inside or beside
    return min(paths, key=len) if paths else None


def _of_project(
    module: Module, found: Requirements, groups: tuple[str, ...] = (), tools: bool = False
) -> bool:
    """Take up the dependencies of `pyproject.toml`; gives whether it lists them."""
    files = dependencies.files_of_project(module)
    if not dependencies.has_list(module) and not files:
        return False
    found.take(PROJECT, dependencies.of_project(module, groups, tools))
    for url, line in dependencies.indexes_of_project(module):
        # Neither tool takes a library from an index that is not meant for it.
        found.indexes.append(Index(url, PROJECT, line, extra=False))
    for path in files:
        found.read(module, path)
    return True


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
