"""What a container runs: its command, followed through shells and entry scripts to the module's files."""

from __future__ import annotations

import ast
import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, takewhile

from foundry_cm.checks.container import Container, containers, shell_text
from foundry_cm.checks.module import Module
from foundry_cm.checks.source import Source
from foundry_cm.module.dockerfile import Instruction
from foundry_cm.module.files import text_lines

_PYTHON = re.compile(r"(.*/)?(python[\d.]*|pypy[\d.]*)$")
_NODE = re.compile(r"(.*/)?node(js)?$")
_SHELL = re.compile(r"(.*/)?(sh|bash|dash|ash|zsh)$")
# They hand signals on, and are process 1 themselves.
_INIT = re.compile(r"(.*/)?(tini(-static)?|dumb-init|catatonit|docker-init|s6-svscan)$")
# They run what comes after them.
_PASSES_ON = {"exec", "env", "nice", "nohup", "setsid", "gosu", "su-exec", "stdbuf"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WITH_VALUE = {"-X", "-W", "-r", "--require", "--import", "--loader"}
_STOPS = re.compile(r"SIGTERM|add_signal_handler|uvicorn\.run|run_app\(")
_JAVASCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts", "package.json")
_STARTS_OTHERS = ("subprocess", "os", "runpy", "multiprocessing")

Place = tuple[str, int]
"""A file of the module and a line in it."""


@dataclass
class Start:
    """What the container runs, as far as it is known from the module's files.

    `missing` are files that are run and that the image does not have, each where it is named.
    """

    container: Container
    instruction: Instruction
    in_shell: bool = False
    has_init: bool = False
    # A shell that does not hand over to the program, which gets no signal then.
    keeps_shell: Place | None = None
    language: str = ""
    files: dict[str, str] = field(default_factory=dict)
    missing: list[tuple[Place, str]] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Where the Dockerfile says what is run."""
        return self.container.path, self.instruction.line

    @cached_property
    def sources(self) -> list[Source]:
        """The Python files that the run reaches, by imports and by starting each other."""
        module = self.container.module
        return [module.source(path) for path in self.files.values() if path.endswith(".py")]

    @cached_property
    def texts(self) -> list[str]:
        """The code that the run reaches; of JavaScript all that the module has."""
        if self.language == "node":
            module = self.container.module
            return [module.text(p) or "" for p in module.files if p.endswith(_JAVASCRIPT)]
        return [source.text for source in self.sources]

    @property
    def gets_signals(self) -> bool:
        """Whether a program of the module's own is process 1, which gets what Foundry sends."""
        is_first = bool(self.files and self.language) and not (self.has_init or self.keeps_shell)
        return is_first and not self.container.final("STOPSIGNAL")

    @property
    def handles_stop(self) -> bool:
        """Whether that program does anything about SIGTERM, which the kernel keeps from process 1."""
        return any(map(_STOPS.search, self.texts))

    def run(self, words: list[str], place: Place) -> None:
        """Follow a command."""
        runs_it = True
        for number, word in enumerate(words):
            rest = words[number + 1 :]
            if _INIT.match(word):
                self.has_init = True
                continue
            if word in _PASSES_ON or (runs_it and word.startswith("-")) or "=" in word:
                continue
            if _SHELL.match(word):
                self._shell(rest, place)
            elif _PYTHON.match(word):
                self._python(rest, place)
            elif _NODE.match(word):
                self._node(rest, place)
            elif word.endswith((".py", ".sh")) or self._program(word, runs_it):
                self._script(self._program(word, runs_it) or word, rest, place, by_name=runs_it)
            else:
                runs_it = False
                continue
            return

    def shell(
        self, text: str, place: Place, args: Sequence[str] = (), numbered: bool = False
    ) -> None:
        """Follow each command of a shell; the last one decides who gets the signals."""
        path, first = place
        kept: Place | None = None
        for number, line in _commands(text):
            here = (path, first + number) if numbered else place
            command = [word for part in line for word in (args if part in {"$@", "$*"} else [part])]
            before = len(self.files), len(self.missing)
            self.run(command, here)
            if not numbered or (len(self.files), len(self.missing)) != before:
                kept = None if "exec" in line else here
        if "trap " not in text:
            self.keeps_shell = kept or self.keeps_shell

    def _shell(self, words: list[str], place: Place) -> None:
        options = list(takewhile(lambda word: word.startswith("-"), words))
        rest = words[len(options) :]
        if any("c" in option for option in options if not option.startswith("--")):
            self.shell(rest[0] if rest else "", place, rest[2:])
        elif rest:
            self._script(self._in_path(rest[0]) or rest[0], rest[1:], place)

    def _python(self, words: list[str], place: Place) -> None:
        self.language = "python"
        while words and words[0].startswith("-"):
            if words[0] in {"-c", "-"}:
                return
            if re.fullmatch(r"-[a-zA-Z]*m", words[0]):
                self._module(words[1] if len(words) > 1 else "", place)
                return
            words = words[2:] if words[0] in _WITH_VALUE else words[1:]
        if words:
            self._script(words[0], words[1:], place)

    def _node(self, words: list[str], place: Place) -> None:
        self.language = "node"
        while words and words[0].startswith("-"):
            if words[0] in {"-e", "--eval", "-p"}:
                return
            words = words[2:] if words[0] in _WITH_VALUE else words[1:]
        if words:
            name = words[0] if posixpath.splitext(words[0])[1] else f"{words[0]}.js"
            self._script(name, words[1:], place)

    def _module(self, dotted: str, place: Place) -> None:
        inner = dotted.replace(".", "/")
        for folder in self._python_path(self._cwd):
            for name in (f"{inner}.py", f"{inner}/__main__.py"):
                if self._reach(posixpath.join(folder, name)):
                    return
        # A name that is no file of the module's is a library's.
        for path in self.container.module.files:
            if f"/{path}".endswith((f"/{inner}.py", f"/{inner}/__main__.py")):
                self._lacks(path, place)
                return

    def _script(self, name: str, args: list[str], place: Place, *, by_name: bool = False) -> None:
        """Follow a script; one that is run `by_name`, without a folder, is looked for in PATH alone."""
        there = self._at(name)
        if (by_name and "/" not in name) or not self._reach(there):
            if "$" not in name:
                self._lacks(name, place)
            return
        path = self.container.files[there]
        text = self.container.module.text(path) or ""
        if path.endswith((".sh", ".bash")) or re.match(r"#!.*\b(ba|da|a)?sh\b", text):
            self.shell(text, (path, 1), args, numbered=True)
        elif path.endswith(".py"):
            self.language = "python"

    def _lacks(self, name: str, place: Place) -> None:
        known = any(
            posixpath.basename(path) == posixpath.basename(name)
            for path in self.container.module.files
        )
        relative = not name.startswith("/") or self._at(name).startswith(
            self._cwd.rstrip("/") + "/"
        )
        if not self.container.may_have(name) and (known or relative):
            self.missing.append((place, name))

    def _reach(self, there: str) -> bool:
        """Take up a file of the image, and the module's own files that it imports or starts."""
        path = self.container.files.get(there)
        if path is None:
            return False
        if there not in self.files:
            self.files[there] = path
            if path.endswith(".py"):
                for name in self._leads_to(self.container.module.source(path), there):
                    self._reach(name)
        return True

    def _leads_to(self, source: Source, there: str) -> Iterator[str]:
        folders = self._python_path(posixpath.dirname(there))
        for node in source.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from _files_of(folders, alias.name)
            elif isinstance(node, ast.ImportFrom):
                roots = [posixpath.join(posixpath.dirname(there), "../" * (node.level - 1))]
                for alias in node.names:
                    inner = ".".join(filter(None, [node.module, alias.name]))
                    yield from _files_of(roots if node.level else folders, inner)
                if node.level:
                    yield from _files_of([posixpath.normpath(roots[0])], "__init__")
        if any(found.target.partition(".")[0] in _STARTS_OTHERS for found in source.imports):
            for node in source.nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if node.value.endswith(".py"):
                        yield from (posixpath.join(folder, node.value) for folder in folders)
                    elif re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", node.value):
                        yield from _files_of(folders, f"{node.value}.__main__")

    def _python_path(self, folder: str) -> list[str]:
        extra = [
            part for part in self._known.get("PYTHONPATH", "").split(":") if part.startswith("/")
        ]
        return list(dict.fromkeys([folder, self._cwd, *extra]))

    @property
    def _known(self) -> dict[str, str]:
        steps = self.container.last.steps
        return dict(steps[-1].known) if steps else {}

    @property
    def _cwd(self) -> str:
        return self.container.workdir(self.container.last)

    def _program(self, name: str, runs_it: bool) -> str | None:
        """The path of a file that a word of a command names: the program itself, or one that is given to it.

        No program is looked for in the working folder, unless its name has a folder in it.
        """
        if runs_it and "/" not in name:
            return self._in_path(name)
        return name if self._at(name) in self.container.files else None

    def _in_path(self, name: str) -> str | None:
        """The path of a file that a bare name finds in PATH."""
        folders = self._known.get("PATH", "").split(":") + _PATH.split(":")
        places = (posixpath.join(self._at(folder), name) for folder in folders if folder)
        return next((at for at in places if at in self.container.files), None)

    def _at(self, name: str) -> str:
        return posixpath.normpath(posixpath.join(self._cwd, name))


def starts(module: Module) -> list[Start]:
    """What each image of a module runs, where its Dockerfile says so."""
    return module.once(_find)


def _find(module: Module) -> list[Start]:
    return [start for container in containers(module) if (start := start_of(container))]


def start_of(container: Container) -> Start | None:
    """What a container runs; None where its Dockerfile does not say."""
    entry, command = container.final("ENTRYPOINT"), container.final("CMD")
    step = entry or command
    if step is None:
        return None
    start = Start(container, step.instruction)
    if entry and entry.instruction.json_form is None:
        start.in_shell = True
        start.shell(shell_text(entry.instruction), start.place)
        return start
    words = list(entry.words) if entry else []
    if command and command.instruction.json_form is None:
        start.in_shell = not entry
        if not entry:
            start.shell(shell_text(command.instruction), start.place)
            return start
        words += ["/bin/sh", "-c", shell_text(command.instruction)]
    elif command:
        words += command.words
    last = command or step
    start.run(words, (container.path, last.instruction.line))
    return start


def _files_of(folders: list[str], dotted: str) -> Iterator[str]:
    """The files that an import of a dotted name can read, packages on the way included."""
    parts = dotted.split(".")
    for folder in folders:
        for depth in range(1, len(parts) + 1):
            stem = posixpath.normpath(posixpath.join(folder, *parts[:depth]))
            yield from (f"{stem}.py", f"{stem}/__init__.py")


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The commands of a shell text, each as words, with the number of lines before it."""
    begun, first = "", 0
    for number, line in enumerate(text_lines(text)):
        first, begun = (first, begun) if begun else (number, "")
        begun += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        lexer = shlex.shlex(begun, posix=True, punctuation_chars=True)
        lexer.wordchars += "$@:,=%+[]{}"
        begun = ""
        try:
            words = list(lexer)
        except ValueError:
            continue
        for is_end, command in groupby(words, lambda word: set(word) <= set(";&|()")):
            if not is_end:
                yield first, list(command)
