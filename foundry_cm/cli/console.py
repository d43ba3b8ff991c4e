"""What the verbs print: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from foundry_cm.errors import CmError

out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """Print a value as JSON on standard output; what cannot be encoded is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def say(text: str, style: str | None = None) -> None:
    """Print a line for the person at the terminal."""
    err.print(Text(text, style or ""))


def say_next(command: str, why: str) -> None:
    """Name the next useful command."""
    err.print(Text.assemble(("next: ", "bold"), (command, "bold cyan"), f"  {why}"))


def show_error(error: CmError) -> None:
    """Print an error: what, where, how to mend it, and the user's own frames where there are any."""
    err.print(Text.assemble(("error: ", "bold red"), error.what))
    if error.where:
        err.print(Text.assemble(("where: ", "bold"), error.where))
    if error.fix:
        err.print(Text.assemble(("fix:   ", "bold"), error.fix))
    if error.details:
        err.print(Text(error.details, "dim"))


def milliseconds(seconds: float) -> str:
    """A duration as people read it."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
