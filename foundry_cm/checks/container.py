"""The image that a module's Dockerfile would make, as far as it can be known without building it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from foundry_cm.checks.module import Module
from foundry_cm.module.dockerfile import Instruction, Stage, Step, parse

# A RUN with one of these can make files whose names it does not say.
_MAKES_FILES = re.compile(
    r"git clone|unzip|\btar\b|\b(cp|mv|ln|rsync|make|tsc|npx|yarn|pnpm|cargo)\b|npm run|go build"
    r"|install( -\S+)* \.(\s|$|\[)"
)
_ARCHIVE = re.compile(r"\w+://|git@|.*\.(tar|tgz|zip|gz|xz)\b")


@dataclass(frozen=True)
class Container:
    """One Dockerfile. `context` is the folder that is built, `""` for the module's own."""

    module: Module
    path: str
    context: str

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All its stages."""
        return parse(self.module.text(self.path) or "")

    @property
    def last(self) -> Stage:
        """The stage that becomes the image."""
        return self.stages[-1]

    def final(self, name: str) -> Step | None:
        """The last instruction of a name that counts for the image."""
        return next((s for s in reversed(self.last.steps) if s.instruction.name == name), None)

    @cached_property
    def ignored(self) -> Ignored:
        """What does not reach the build."""
        own = f"{self.path}.dockerignore"
        common = posixpath.join(self.context, ".dockerignore")
        name = own if own in self.module.files else common
        return Ignored(name if name in self.module.files else None, self.module.lines(name))

    def workdir(self, stage: Stage) -> str:
        """The working directory at the end of a stage; `/` where none is set."""
        folder = "/"
        for step in stage.steps:
            if step.instruction.name == "WORKDIR" and step.words:
                folder = posixpath.join(folder, step.words[0])
        return posixpath.normpath(folder)

    @cached_property
    def files(self) -> dict[str, str]:
        """The module's files that the image has: the path in the module by that in the image."""
        return self.files_of(self.last)

    def may_have(self, name: str) -> bool:
        """Whether the image may have a file of a name that is not copied from the module."""
        return any(
            self._makes(step, posixpath.basename(name))
            for stage in self.stages
            for step in stage.steps
        )

    def _makes(self, step: Step, name: str) -> bool:
        if step.instruction.name == "RUN":
            text = shell_text(step.instruction)
            return name in text or bool(_MAKES_FILES.search(text))
        if step.instruction.flag("from") is not None:
            return not self._stage(step)
        return step.instruction.name == "ADD" and any(map(_ARCHIVE.match, step.words))

    def copied(self, source: str) -> list[str]:
        """The files of the module that a source of a COPY takes into the image, by their paths.

        Files that git ignores are among them: what lies in the folder is built.
        """
        return [path for path, _ in self._matches(source, self.module.on_disk)]

    def files_of(self, stage: Stage) -> dict[str, str]:
        """The module's files that the image of a stage has, by their paths in it."""
        found: dict[str, str] = {}
        folder = "/"
        for step in stage.steps:
            if step.instruction.name == "WORKDIR" and step.words:
                folder = posixpath.normpath(posixpath.join(folder, step.words[0]))
            elif step.instruction.name in {"COPY", "ADD"} and len(step.words) > 1:
                *sources, target = step.words
                place = posixpath.join(folder, target)
                for source in sources:
                    found |= self._copied(step, source, place, len(sources) > 1)
        return found

    def _copied(self, step: Step, source: str, place: str, several: bool) -> dict[str, str]:
        if step.instruction.flag("from") is not None:
            stage = self._stage(step)
            there = self.files_of(stage) if stage else {}
            root = posixpath.normpath(posixpath.join("/", source))
            pairs = [
                (path, posixpath.relpath(name, root))
                for name, path in there.items()
                if name == root or name.startswith(root.rstrip("/") + "/")
            ]
        else:
            pairs = list(self._matches(source, self.module.files))
        below = several or place.endswith("/") or place.endswith("/.")
        found = {}
        for path, inner in pairs:
            if inner == ".":  # a single file
                inner = posixpath.basename(path) if below or self._is_folder(place) else ""
            found[posixpath.normpath(posixpath.join(place, inner))] = path
        return found

    def _is_folder(self, place: str) -> bool:
        return posixpath.normpath(place) in {"/", self.workdir(self.last)}

    def _matches(self, source: str, files: list[str]) -> Iterator[tuple[str, str]]:
        """The module's files that a source of COPY names, each with its path inside the source."""
        wanted = posixpath.normpath(source.lstrip("/") or ".")
        before = f"{self.context}/" if self.context else ""
        for whole in files:
            name = whole.removeprefix(before)
            if not whole.startswith(before) or self.ignored.covers(name):
                continue
            if wanted == ".":
                yield whole, name
            elif name.startswith(wanted + "/"):
                yield whole, name[len(wanted) + 1 :]
            else:
                parts = PurePosixPath(name).parts
                depth = len(PurePosixPath(wanted).parts)
                if len(parts) >= depth and PurePosixPath(*parts[:depth]).match(wanted):
                    yield whole, posixpath.join(*parts[depth:]) if len(parts) > depth else "."

    def _stage(self, step: Step) -> Stage | None:
        """The stage that a step copies from: one before its own."""
        name = (step.instruction.flag("from") or "").lower()
        begun = [stage for stage in self.stages if stage.line < step.instruction.line]
        found = (s for n, s in enumerate(begun[:-1]) if name in {s.name, str(n)})
        return next(found, None)


@dataclass(frozen=True)
class Ignored:
    """The patterns of a `.dockerignore`; `path` is None where there is none."""

    path: str | None
    lines: list[str]

    def covers(self, name: str) -> bool:
        """Whether a file of the context stays out of the build: the last pattern that fits decides."""
        covered = False
        for negated, pattern in self._patterns:
            if pattern.fullmatch(name):
                covered = not negated
        return covered

    @cached_property
    def _patterns(self) -> list[tuple[bool, re.Pattern[str]]]:
        found = []
        for line in (line.strip() for line in self.lines):
            if not line.startswith("#"):
                glob = posixpath.normpath(line.removeprefix("!").strip().lstrip("/"))
                found.append((line.startswith("!"), _pattern(glob)))
        return found


def _pattern(glob: str) -> re.Pattern[str]:
    try:
        return re.compile(f"{_expression(glob)}(/.*)?")
    except re.error:  # Docker takes a bracket that nothing closes for a mistake, and stops there
        return re.compile(re.escape(glob))


def _expression(glob: str) -> str:
    parts = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        parts.get(part) or (part if part.startswith("[") else re.escape(part))
        for part in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", glob)
    )


def shell_text(instruction: Instruction) -> str:
    """What a RUN, CMD or ENTRYPOINT gives to a shell, or the words of its JSON form."""
    words = instruction.json_form
    return "\n".join(
        [instruction.text if words is None else " ".join(words), *instruction.heredocs]
    )


def containers(module: Module) -> list[Container]:
    """The images that a module has a Dockerfile for: the one at its top, or those below."""
    return module.once(_containers)


def dockerfiles(module: Module) -> list[str]:
    """The Dockerfile at the top of a module, or those below it."""
    names = ("Dockerfile", "Containerfile")
    return [name for name in names if name in module.files][:1] or [
        name for name in module.files if posixpath.basename(name) in names
    ]


def _containers(module: Module) -> list[Container]:
    found = [Container(module, path, _context_of(module, path)) for path in dockerfiles(module)]
    return [container for container in found if container.stages]


def _context_of(module: Module, path: str) -> str:
    """The folder that is built: the Dockerfile's own, unless what it copies lies at the top alone."""
    folder = posixpath.dirname(path)
    for stage in parse(module.text(path) or "") if folder else ():
        for step in stage.steps:
            if step.instruction.name == "COPY" and step.instruction.flag("from") is None:
                for source in step.words[:-1]:
                    if not any(n.startswith(posixpath.join(folder, source)) for n in module.files):
                        return ""
    return folder
