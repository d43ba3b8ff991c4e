"""The small modules that show a check: a function module in one file, with something in its middle."""

from __future__ import annotations

import re

from foundry_cm.checks.registry import Bad, Files

APP = "src/app.py"
MARK = re.compile(r" *#<$", re.MULTILINE)

HEAD = """import atexit
from dataclasses import dataclass

from compute_modules.annotations import function
from compute_modules.startup import ConcurrencyType, start_compute_module

atexit.unregister(start_compute_module)


@dataclass
class Query:
    text: str


"""
TAIL = """

if __name__ == "__main__":
    start_compute_module(ConcurrencyType.THREAD_POOL)
"""
ECHO = "@function\ndef echo(context, event: Query) -> str:\n    return event.text\n"


def good(
    body: str = ECHO,
    *,
    imports: str = "",
    head: str = HEAD,
    tail: str = TAIL,
    files: Files | None = None,
) -> Files:
    """A module whose app.py has this body; `imports` come before the SDK's."""
    sdk = "from compute_modules.annotations"
    return {
        APP: head.replace(sdk, imports + sdk, 1) + body.lstrip("\n") + tail,
        **(files or {}),
    }


def bad(
    body: str = ECHO,
    *,
    imports: str = "",
    head: str = HEAD,
    tail: str = TAIL,
    files: Files | None = None,
) -> Bad:
    """The same with a mistake in it: it is found on each line that ends in `#<`."""
    return marked(good(body, imports=imports, head=head, tail=tail, files=files))


def marked(files: Files) -> Bad:
    """A bad module whose lines at fault end in `#<`, which is taken away."""
    places = [
        f"{path}:{number}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if MARK.search(line)
    ]
    return Bad(" ".join(places), {path: MARK.sub("", text) for path, text in files.items()})
