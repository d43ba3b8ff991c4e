"""The lines of a file of requirements, as pip reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMENT = re.compile(r"(^|\s+)#.*$")


def statements(text: str) -> Iterator[tuple[int, str]]:
    """What a file says, without comments, each with the number of its first line.

    A backslash at the end of a line joins the next to it.
    """
    begun, number = "", 0
    for at, raw in enumerate([*text.splitlines(), ""], 1):
        number = number if begun else at
        joined = begun + _COMMENT.sub("", raw) if not begun else begun + raw.strip()
        if joined.endswith("\\"):
            begun = joined[:-1]
            continue
        begun = ""
        if said := _COMMENT.sub("", joined).strip():
            yield number, said
