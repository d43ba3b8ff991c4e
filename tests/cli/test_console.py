"""Nothing from outside reaches a terminal, an annotation or a test report as it came."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.table import Table
from rich.text import Text

from foundry_cm.cli import app, console
from foundry_cm.errors import CmError, annotation, printable
from foundry_cm.testing import told

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
LINK = "\x1b]8;;https://example.com\x1b\\"
HOSTILE = f"a{CLIPBOARD}{LINK}\x9b2Jb\rc\u202ed\ud83de\x1b[8mf\x7f"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal without colours gets."""
    told = io.StringIO()
    monkeypatch.setattr(console, "err", console.Screen(file=told))
    return told


def test_text_is_written_out_where_a_terminal_would_obey_it() -> None:
    assert printable("a\x1b[31mred\x1b[0m b") == "ared b"
    assert printable("\x1b]0;x\x07 \x9b2J \r \u202e \ud83d") == (
        "\\u001b]0;x\\u0007 \\u009b2J \\r \\u202e \\ud83d"
    )
    assert printable("one\ntwo") == "one\\ntwo"
    assert printable("one\r\ntwo\tthree é 漢字 👩‍🔬", lines=True) == "one\ntwo\tthree é 漢字 👩‍🔬"


def test_every_way_to_print_goes_through_it(screen: io.StringIO) -> None:
    console.say(HOSTILE)
    console.say_next(HOSTILE, HOSTILE)
    console.show_error(CmError(HOSTILE, where=HOSTILE, fix=HOSTILE, details=f"{HOSTILE}\n  more"))
    table = Table(HOSTILE, box=None)
    table.add_row(HOSTILE)
    console.err.print(table)
    console.err.print(HOSTILE, HOSTILE)
    console.err.print("[bold]x[/bold] :warning:")
    shown = screen.getvalue()
    assert not RAW.search(shown), RAW.search(shown)
    assert "https://example.com" in shown
    assert "[bold]x[/bold] :warning:" in shown


def test_a_line_end_in_a_name_begins_no_line_of_ours(screen: io.StringIO) -> None:
    console.show_error(CmError('There is no function "a\nnext: rm -r ~"', where="b\nc"))
    assert screen.getvalue().splitlines() == [
        'error: There is no function "a\\nnext: rm -r ~"',
        "where: b\\nc",
    ]


@pytest.mark.parametrize("value", [HOSTILE, {HOSTILE: [HOSTILE]}])
def test_result_is_the_same_json_without_control_characters(
    value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_json(value)
    shown = capsys.readouterr().out
    assert not RAW.search(shown)
    assert json.loads(shown) == value


def test_annotation_keeps_its_text_in_its_place() -> None:
    line = annotation("error", "100 %\n::stop", file="a,b:c\nd.py", line=3, title=HOSTILE)
    assert line.startswith("::error file=a%2Cb%3Ac%0Ad.py,line=3,title=a\\u001b]52;c;")
    assert line.endswith("::100 %25%0A::stop")
    assert not RAW.search(line)
    assert "\n" not in line


def test_failed_test_shows_it_as_well() -> None:
    assert not RAW.search(told(CmError(HOSTILE, where=HOSTILE, details=HOSTILE)))


def test_help_says_all_that_is_written_in_it() -> None:
    def texts(command: Any) -> Iterator[str]:
        yield from filter(None, [command.help, *(getattr(p, "help", "") for p in command.params)])
        for name in getattr(command, "commands", ()):
            yield from texts(command.get_command(None, name))

    # What stands in brackets would be taken for a style, and vanish.
    for text in texts(typer.main.get_command(app)):
        assert Text.from_markup(text).plain == text.replace("\\[", "["), text
