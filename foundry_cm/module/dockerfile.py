"""A Dockerfile as its builder reads it: stages, and instructions with their lines.

The rules are those of the Dockerfile reference; the tests compare it with Docker's own parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from foundry_cm.module.files import text_lines

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_HEREDOC = re.compile(r"""(?<![\w<])\d*<<(-?)(["']?)([A-Za-z_][\w.]*)\2(?![\w<])""")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+?])((?:[^{}]|\$\{\w+\})*))?\})")
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+|["'\\]""", re.DOTALL)
_QUOTED = re.compile(r"""'([^']*)'|\\([\\"' ])|["']""")

_TAKES_HEREDOC = {"RUN", "COPY", "ADD"}
_TAKES_JSON = {"CMD", "ENTRYPOINT", "RUN", "SHELL", "COPY", "ADD", "VOLUME"}
# In these a variable is the shell's, which knows more of them than the builder.
_OF_THE_SHELL = {"CMD", "ENTRYPOINT", "RUN"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: `text` is what follows its name and flags, in one line."""

    name: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    text: str = ""
    heredocs: tuple[str, ...] = ()

    def flag(self, name: str) -> str | None:
        """The value of a flag; None where it is not given."""
        return dict(self.flags).get(name)

    @cached_property
    def json_form(self) -> list[str] | None:
        """The words of the JSON form; None for the shell form."""
        if self.name not in _TAKES_JSON or not self.text.startswith("["):
            return None
        try:
            words = json.loads(self.text)
        except ValueError:
            return None
        return words if all(isinstance(word, str) for word in words) else None

    @cached_property
    def pairs(self) -> list[tuple[str, str | None]]:
        """The names and values of ENV and ARG; None for an ARG without a default."""
        words = _WORD.findall(self.text)
        if self.name == "ENV" and words and "=" not in words[0]:
            return [(words[0], unquoted(self.text[len(words[0]) :].strip()))]
        split = [word.partition("=") for word in words]
        return [(name, unquoted(value) if equals else None) for name, equals, value in split]


@dataclass(frozen=True)
class Step:
    """An instruction where its turn comes; `known` are the variables that have a value by then."""

    instruction: Instruction
    known: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """Its words without quotes, and with what is known of the variables in them."""
        words = self.instruction.json_form
        if words is None:
            words = [unquoted(word) for word in _WORD.findall(self.instruction.text)]
        if self.instruction.name in _OF_THE_SHELL:
            return words
        return [expand(word, self.known) for word in words]


@dataclass(frozen=True)
class Stage:
    """A stage: `base` and `platform` are those of FROM, with what is known of the variables in them."""

    name: str
    line: int
    base: str
    platform: str | None
    instructions: tuple[Instruction, ...]
    arguments: Mapping[str, str]
    # The stage of this file that it goes on from.
    parent: Stage | None = None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What leads to its image, in order: the steps of the stages that it goes on from are first."""
        before = self.parent.steps if self.parent else ()
        return (*before, *self._own(before[-1].known if before else {}))

    @property
    def root(self) -> Stage:
        """The stage whose base is an image from elsewhere."""
        return self.parent.root if self.parent else self

    def _own(self, inherited: Mapping[str, str]) -> Iterator[Step]:
        known = dict(inherited)
        for instruction in self.instructions:
            if instruction.name == "ENV":
                before = dict(known)
                known |= {name: expand(value or "", before) for name, value in instruction.pairs}
            elif instruction.name == "ARG":
                for name, value in instruction.pairs:
                    value = self.arguments.get(name) if value is None else expand(value, known)
                    if value is not None:
                        known.setdefault(name, value)
            yield Step(instruction, dict(known))


def parse(text: str) -> tuple[Stage, ...]:
    """The stages of a Dockerfile in their order; none where it has no FROM."""
    arguments: dict[str, str] = {}
    blocks: list[list[Instruction]] = []
    for instruction in instructions(text):
        if instruction.name == "FROM":
            blocks.append([instruction])
        elif blocks:
            blocks[-1].append(instruction)
        elif instruction.name == "ARG":
            for name, value in instruction.pairs:
                if value is not None:
                    arguments[name] = expand(value, arguments)
    stages: dict[str, Stage] = {}
    for number, (start, *rest) in enumerate(blocks):
        base, _, name = (*_WORD.findall(start.text), "", "", "")[:3]
        base, platform = expand(unquoted(base), arguments), start.flag("platform")
        stage = Stage(
            name=name.lower() or str(number),
            line=start.line,
            base=base,
            platform=None if platform is None else expand(platform, arguments),
            instructions=tuple(rest),
            arguments=arguments,
            parent=stages.get(base.lower()),
        )
        stages[stage.name] = stages[str(number)] = stage
    return tuple(stages[str(number)] for number in range(len(blocks)))


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, one after the other."""
    escape = _escape(text)
    goes_on = re.compile(rf"(?:^|(?<=[^{re.escape(escape)}])){re.escape(escape)}[ \t]*$")
    lines = enumerate(text_lines(text.removeprefix("\ufeff")), 1)
    for number, line in lines:
        if not _says_something(line):
            continue
        parts = [line]
        while goes_on.search(parts[-1]):
            parts.append(next((more for _, more in lines if _says_something(more)), ""))
        whole = "".join(goes_on.sub("", part) for part in parts)
        name, rest = (*whole.split(maxsplit=1), "")[:2]
        rest = rest.strip()
        flags: list[tuple[str, str]] = []
        while flag := _FLAG.match(rest):
            flags.append((flag[1], flag[2] or ""))
            rest = rest[flag.end() :]
        found = _HEREDOC.findall(rest) if name.upper() in _TAKES_HEREDOC else []
        bodies = [_heredoc(lines, end, bool(tabs)) for tabs, _, end in found]
        yield Instruction(name.upper(), number, tuple(flags), rest, tuple(bodies))


def expand(text: str, known: Mapping[str, str]) -> str:
    """The text with its variables replaced; one without a value stays as it is written."""

    def value(match: re.Match[str]) -> str:
        name, operator, other = match[1] or match[2], match[3] or "", match[4] or ""
        if name is None:
            return "$"
        is_set = name in known and not (operator.startswith(":") and not known[name])
        if operator.endswith("+"):
            return expand(other, known) if is_set else ""
        if is_set:
            return known[name]
        return expand(other, known) if operator.endswith("-") else match[0]

    return _VARIABLE.sub(value, text)


def unquoted(word: str) -> str:
    """The word without its quotes and the backslashes before quotes and blanks."""
    return _QUOTED.sub(lambda match: match[1] or match[2] or "", word)


def _escape(text: str) -> str:
    """The character that joins lines; a directive at the top of the file can change it."""
    for line in text_lines(text.removeprefix("\ufeff")):
        directive = _DIRECTIVE.match(line.strip())
        if not directive:
            break
        if directive[1].lower() == "escape" and directive[2] in {"\\", "`"}:
            return directive[2]
    return "\\"


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _heredoc(lines: Iterator[tuple[int, str]], end: str, strips_tabs: bool) -> str:
    body = []
    for _, line in lines:
        line = line.lstrip("\t") if strips_tabs else line
        if line == end:
            break
        body.append(line)
    return "\n".join(body)
