"""What the verbs print: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import operator
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from foundry_cm.errors import CmError, annotation, printable

_SHOWN_NUMBERS = 16


class Screen(Console):
    """A console at which every text is made printable, whatever it came in: a line, a table, a bar.

    Only rich's own control codes and styles are left.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=True, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of what is shown, with nothing in them that a terminal would obey."""
        for segment in super().render(renderable, options):
            if segment.control or not segment.text:
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)


out = Screen()
err = Screen(stderr=True)


def show_json(value: Any) -> None:
    """Print a value as JSON on standard output; what acts on a terminal is escaped as JSON does it.

    A terminal shows the beginning of each long list of numbers, and what is piped on has all of it.
    """
    if sys.stdout.isatty() and (shown := _shortened(value)) is not value:
        say(
            "Long lists of numbers are shortened in a terminal; a pipe or a file gets all of them",
            "dim",
        )
        value = shown
    sys.stdout.write(_json_text(value, indent=2) + "\n")


def show_item(value: Any) -> None:
    """Print an item of a stream as a line of JSON on standard output, at once."""
    sys.stdout.write(_json_text(value) + "\n")
    sys.stdout.flush()


def _json_text(value: Any, indent: int | None = None) -> str:
    text = printable(json.dumps(value, indent=indent, ensure_ascii=False), lines=True)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = printable(json.dumps(value, indent=indent), lines=True)
    return text


def _shortened(value: Any) -> Any:
    """The value with the first few numbers of each long list of them; the same object if it has none."""
    if isinstance(value, dict):
        shorter: Any = {key: _shortened(item) for key, item in value.items()}
        return shorter if any(shorter[key] is not value[key] for key in value) else value
    if not isinstance(value, list):
        return value
    if len(value) > _SHOWN_NUMBERS and all(type(item) in (int, float) for item in value):
        first = ", ".join(map(str, value[:3]))
        return f"{first}, ... ({len(value):,} numbers)"
    shorter = list(map(_shortened, value))
    return shorter if any(map(operator.is_not, shorter, value)) else value


def say(text: str, style: str | None = None) -> None:
    """Print a line for the person at the terminal."""
    err.print(Text(printable(text), style or ""))


def say_actions(count: int) -> None:
    """Say how many actions a module has applied, and where they are written down; none is no news."""
    if count:
        said = "1 action" if count == 1 else f"{count:,} actions"
        say(f"{said} on the Ontology: outputs/ontology/edits.jsonl", "green")


def say_next(command: str, why: str) -> None:
    """Name the next useful command."""
    label("next: ", command, style="bold", text_style="bold cyan", after=f"  {why}")


def label(
    name: str, text: str, *, style: str = "bold", text_style: str = "", after: str = ""
) -> None:
    """Print one line that begins with what it is."""
    err.print(Text.assemble((name, style), (printable(text), text_style), printable(after)))


def show_error(error: CmError) -> None:
    """Print an error: what, where, how to mend it, and the user's own frames where there are any."""
    label("error: ", error.what, style="bold red")
    if error.where:
        label("where: ", error.where)
    if error.fix:
        label("fix:   ", error.fix)
    if error.details:
        err.print(Text(printable(error.details, lines=True), "dim"))


def show_annotation(level: str, message: str, **properties: object) -> None:
    """Print an annotation of GitHub on standard output; see `foundry_cm.errors.annotation`."""
    encoding = sys.stdout.encoding or "utf-8"
    line = annotation(level, message, **properties)
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def milliseconds(seconds: float) -> str:
    """A duration as people read it."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
