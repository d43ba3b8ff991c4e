"""Comments that switch a check off for one line: `# cm: ignore[CM204] the caller sends it so`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.checks.finding import Finding
from foundry_cm.checks.module import Module
from foundry_cm.module.files import text_lines

_WORDS = "cm: ignore["
_IGNORE = re.compile(r"(?:#|//)\s*cm: ignore\[(?P<codes>[^\]]*)\](?P<reason>.*)")
_COMMENTED = re.compile(
    r"(^|/)(Dockerfile[^/]*|Containerfile|requirements[^/]*\.(txt|in)|\.(git|docker)ignore"
    r"|[^/]+\.(py|toml|ya?ml|sh|dockerfile))$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Ignore:
    """One such comment, and the line that it is for: its own, or the next where it stands alone."""

    path: str
    line: int
    covers: int
    codes: tuple[str, ...]
    reason: str

    def is_for(self, finding: Finding) -> bool:
        """Whether it switches a finding off. One without a reason does not."""
        return (
            bool(self.reason)
            and finding.path == self.path
            and finding.line in (self.covers, self.line)
            and finding.code in self.codes
        )


def ignores(module: Module) -> Iterator[Ignore]:
    """Every such comment in the files of a module that can have comments."""
    for path in module.files:
        text = (module.text(path) or "") if _COMMENTED.search(path) else ""
        if _WORDS not in text:
            continue
        lines = text_lines(text)
        for number, comment in _comments(path, text):
            if found := _IGNORE.search(comment):
                codes = tuple(re.findall(r"[^\s,]+", found["codes"]))
                alone = lines[number - 1].lstrip().startswith(("#", "//"))
                covers = _next_line(lines, number) if alone else number
                yield Ignore(path, number, covers, codes, found["reason"].strip(" :-"))


def _comments(path: str, text: str) -> list[tuple[int, str]]:
    """The comments of a file; in Python not what only looks like one inside a text."""
    if not path.endswith(".py"):
        return [(n, line) for n, line in enumerate(text_lines(text), 1) if _WORDS in line]
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                found.append((token.start[0], token.string))
    except (tokenize.TokenError, SyntaxError):
        pass  # CM001 says that the file is not Python; its comments up to there count
    return found


def _next_line(lines: list[str], number: int) -> int:
    """The next line that is neither empty nor a comment."""
    for later, line in enumerate(lines[number:], number + 1):
        if line.strip() and not line.lstrip().startswith(("#", "//")):
            return later
    return number
