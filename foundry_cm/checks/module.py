"""A module as the checks look at it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from foundry_cm.checks import carried, rendering
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.hint import Hint
from foundry_cm.checks.hints import Reader
from foundry_cm.checks.program import Handler, Program
from foundry_cm.checks.rendering import Rendering
from foundry_cm.checks.source import Source, decode
from foundry_cm.module.files import is_inside, text_lines
from foundry_cm.module.git import told
from foundry_cm.module.project import CheckSettings, Project

T = TypeVar("T")

ANSWERS = ".copier-answers.yml"
_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", ".cm", ".tox", ".mypy_cache"}
# What lies beside the code where there is no src/ and is not part of the module.
_BESIDE = {"tests", "test", "docs", "examples", "scripts", "build", "dist"}
_LARGEST = 2_000_000
_STARTS = re.compile(r"\s*(CMD|ENTRYPOINT)\b", re.IGNORECASE)
_SCRIPT = re.compile(r"[\w./-]+\.py\b")
_MODULE = re.compile(r"-m[\"',\s]+([A-Za-z_][\w.]*)")
# A line of [project.scripts], or of console_scripts: name = "package.file:function".
_CONSOLE = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=\s*["']?([A-Za-z_][\w.]*):\w+["']?\s*$""")
_MOST_FILES = 20_000


@dataclass(frozen=True)
class Module:
    """A module's folder; what costs time is looked at once, and only when a check asks for it.

    Nothing of it is imported or run, but by the live checks: from its folder, or from an image of it
    (`container`). `found` is what the checks before this one have found, and `memory` what several of
    them share.
    """

    folder: Path
    settings: CheckSettings = field(default_factory=CheckSettings)
    command: tuple[str, ...] = ()
    container: str | None = None
    engine: str | None = None
    found: list[Finding] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls, folder: Path, *, container: str | None = None, engine: str | None = None
    ) -> Module:
        """The module in a folder, with its settings; raises `CmError` where those are wrong."""
        project = Project.read(folder)
        settings = project.settings
        return cls(project.folder, settings.check, settings.command, container, engine)

    @property
    def strict(self) -> bool:
        """Whether only the types of the field guide are right, and not all that the SDK supports."""
        return self.settings.profile == "strict"

    @cached_property
    def files(self) -> list[str]:
        """Its files, as git sees them where it is a repository."""
        listed = told(self.folder, "ls-files", "-co", "--exclude-standard", "-z")
        names = listed.split("\0") if listed else list(_walk(self.folder))
        return sorted({name for name in names if name and (self.folder / name).is_file()})

    @cached_property
    def on_disk(self) -> list[str]:
        """All its files, those that git ignores too, but for those of tools; the first thousands."""
        return sorted(islice(_walk(self.folder), _MOST_FILES))

    def text(self, path: str) -> str | None:
        """The text of a file; None where there is none that may be read.

        That is so for a file of some megabytes, for one with zero bytes, and for a link that leads
        out of the module.
        """
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def lines(self, path: str) -> list[str]:
        """The lines of a file; none where it cannot be read."""
        return text_lines(self.text(path) or "")

    @cached_property
    def _texts(self) -> dict[str, str | None]:
        return {}

    def _read(self, path: str) -> str | None:
        content = self._content(path)
        if content is None or b"\0" in content:
            return None
        return content.decode("utf-8-sig", errors="replace")

    def exact_text(self, path: str) -> str | None:
        """The text of a file to the letter, as it can be written again; None where it is not UTF-8."""
        try:
            return (self._content(path) or b"").decode("utf-8")
        except UnicodeDecodeError:
            return None

    def _content(self, path: str) -> bytes | None:
        if path not in self._contents:
            self._contents[path] = self._read_bytes(path)
        return self._contents[path]

    @cached_property
    def _contents(self) -> dict[str, bytes | None]:
        return {}

    def _read_bytes(self, path: str) -> bytes | None:
        file = self.folder / path
        try:
            if not is_inside(self.folder, file) or file.stat().st_size > _LARGEST:
                return None
            return file.read_bytes()
        except (OSError, ValueError):
            return None

    def once(self, make: Callable[[Module], T]) -> T:
        """What a function gives for this module; it is asked only once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    @cached_property
    def _made(self) -> dict[Callable[..., Any], Any]:
        return {}

    @cached_property
    def python(self) -> dict[str, Source]:
        """The Python files that run in the container, by path.

        They are those of `src/`; in a module without one, all that are not tests, scripts or docs.
        """
        names = [name for name in self.files if name.endswith(".py")]
        inside = [name for name in names if name.startswith("src/")]
        texts = {
            name: decode(content)
            for name in inside or filter(_is_code, names)
            if (content := self._content(name)) is not None
        }
        root = "src" if inside else _root({name: text for name, (text, _) in texts.items()})
        return {name: Source(name, text, root, broken) for name, (text, broken) in texts.items()}

    def source(self, path: str) -> Source:
        """A Python file, also where it is not counted as code of the module; parsed only once."""
        if path in self.python:
            return self.python[path]
        if path not in self._others:
            self._others[path] = Source(path, self.text(path) or "")
        return self._others[path]

    @cached_property
    def _others(self) -> dict[str, Source]:
        return {}

    @cached_property
    def modules(self) -> dict[str, Source]:
        """The same files, by the name that they are imported by."""
        return {source.dotted: source for source in self.python.values()}

    @cached_property
    def program(self) -> Program:
        """The same files as one program: its handlers, and what a name of a file stands for."""
        return Program(self.modules)

    def is_owned(self, source: Source) -> bool:
        """Whether a file is its owner's, and not one that the template replaces."""
        return not (self.answers_text and source.path.startswith("src/cmkit/"))

    @cached_property
    def imported(self) -> list[Source]:
        """The files that Foundry imports: all of `src/`, or those that the files with functions lead to."""
        if any(path.startswith("src/") for path in self.python):
            return list(self.python.values())
        first = [handler.by for handler in self.program.handlers]
        first += [self.entry] if self.entry else []
        reached = {path for source in first for path in self.program.reached(source)}
        return [source for path, source in self.python.items() if path in reached]

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.program)

    def event_hint(self, handler: Handler) -> Hint | None:
        """The type of a handler's event, if it has one."""
        event = handler.event
        return self._hint(handler, event.annotation if event else None)

    def result_hint(self, handler: Handler) -> Hint | None:
        """The type of a handler's result, if it has one."""
        return self._hint(handler, handler.node.returns)

    def _hint(self, handler: Handler, annotation: ast.expr | None) -> Hint | None:
        if annotation is None:
            return None
        if annotation not in self._hints:
            self._hints[annotation] = self._reader.read(handler.source, annotation)
        return self._hints[annotation]

    @cached_property
    def _hints(self) -> dict[ast.expr, Hint]:
        return {}

    @cached_property
    def entry(self) -> Source | None:
        """The file that is started: as the Dockerfile or the settings say, or `app.py`."""
        root = next((f"{source.root}/" for source in self.python.values() if source.root), "")
        named = list(self._started)
        named += [word.rpartition("/")[2] for word in named]
        names = [name for word in named for name in (word, root + word)]
        for name in [*names, f"{root}app.py", "app.py", f"{root}main.py", "main.py"]:
            if name in self.python:
                return self.python[name]
        return next(iter(self.python.values())) if len(self.python) == 1 else None

    @property
    def _started(self) -> Iterator[str]:
        """The Python files that the commands name: themselves, by `-m`, or by a script of the package."""
        docker = [line for line in self.lines("Dockerfile") if _STARTS.match(line)]
        text = "\n".join([" ".join(self.command), *docker])
        shells = {word.rpartition("/")[2] for word in re.findall(r"[\w./-]+\.(?:ba)?sh\b", text)}
        scripts = [name for name in self.files if name.rpartition("/")[2] in shells]
        text += "\n".join(line for name in scripts for line in self.lines(name))
        yield from _SCRIPT.findall(text)
        modules = _MODULE.findall(text)
        for line in [*self.lines("pyproject.toml"), *self.lines("setup.cfg")]:
            found = _CONSOLE.match(line)
            if found and re.search(rf"(?<![\w.-]){re.escape(found[1])}(?![\w.-])", text):
                modules.append(found[2])
        for dotted in modules:
            inner = dotted.replace(".", "/")
            yield from (f"{inner}.py", f"{inner}/__main__.py")

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The module's `pyproject.toml`; nothing where there is none or it is not TOML."""
        import tomllib

        try:
            return tomllib.loads(self.text("pyproject.toml") or "")
        except tomllib.TOMLDecodeError:
            return {}

    @cached_property
    def answers_text(self) -> str:
        """The text of the answers file; nothing in a module that Copier did not write."""
        return self.text(ANSWERS) or ""

    @cached_property
    def answers(self) -> dict[str, Any]:
        """The answers of the module; none where the file holds no mapping."""
        import yaml

        try:
            answers = yaml.safe_load(self.answers_text)
        except yaml.YAMLError:
            return {}
        return answers if isinstance(answers, dict) else {}

    def line_of(self, answer: str) -> int:
        """The line of an answer in the answers file."""
        lines = self.answers_text.splitlines()
        return next((n for n, line in enumerate(lines, 1) if line.startswith(f"{answer}:")), 1)

    @cached_property
    def template(self) -> carried.Carried | None:
        """The template that made it, where this foundry-cm belongs to that very commit."""
        commit = self.answers.get("_commit")
        found = carried.find() if commit else None
        return found if found and found.is_at(str(commit)) else None

    @cached_property
    def rendering(self) -> Rendering | None:
        """What the template makes of its answers; None where the template is not at hand."""
        return rendering.of(self.template, self.answers) if self.template else None


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder, without those of tools."""
    for where, folders, files in os.walk(folder):
        here = Path(where)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        yield from ((here / name).relative_to(folder).as_posix() for name in files)


def _root(texts: dict[str, str]) -> str:
    """The folder that the files are imported from, without a `src/`: one that is no package has them all."""
    folders = {name.partition("/")[0] for name in texts}
    folder = next(iter(folders), "")
    inside = all("/" in name for name in texts)
    if len(folders) != 1 or not inside or f"{folder}/__init__.py" in texts:
        return ""
    imported = re.compile(rf"^\s*(from|import)\s+{re.escape(folder)}\b", re.M)
    return "" if any(map(imported.search, texts.values())) else folder


def _is_code(name: str) -> bool:
    *folders, file = name.split("/")
    return not (
        _BESIDE & set(folders)
        or any(folder.startswith(".") for folder in folders)
        or file in ("setup.py", "conftest.py", "noxfile.py")
        or file.startswith("test_")
        or file.endswith("_test.py")
    )
