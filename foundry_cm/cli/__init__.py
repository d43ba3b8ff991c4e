"""The command `cm`: one file for each verb."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import CompletionItem, TyperGroup  # type: ignore[attr-defined]

from foundry_cm import __version__
from foundry_cm.cli.console import show_error
from foundry_cm.errors import CmError

VERBS = (
    *("serve", "call", "event", "run", "schema", "check", "bench", "plan", "weights"),
    *("lock", "build", "verify", "publish"),
)


class Verbs(TyperGroup):
    """Loads the file of a verb when that verb is asked for: servers and engines take a second."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands: dict[str, Any] = dict.fromkeys(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb: the function of its name, or the `app` of its own verbs."""
        if cmd_name not in VERBS:
            return None
        file = import_module(f"{__name__}.{cmd_name}")
        verb = getattr(file, "app", None)
        if verb is None:
            verb = typer.Typer(add_completion=False)
            verb.command(cmd_name)(getattr(file, cmd_name))
        return _flowing(typer.main.get_command(verb))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """What the shell offers for a verb; none of their files is loaded for that."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(verb) for verb in VERBS if verb.startswith(incomplete)]


def _flowing(command: Any) -> Any:
    """The command with help that fills any terminal: typer keeps the line ends of a docstring."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for verb in getattr(command, "commands", {}).values():
        _flowing(verb)
    return command


app = typer.Typer(
    cls=Verbs,
    name="cm",
    help="Run, call and check a Foundry compute module on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foundry-cm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Run, call and check a Foundry compute module on this machine."""


def main() -> None:
    """Run `cm`; a mistake that a person can mend ends in three lines, not in a traceback."""
    try:
        app()
    except CmError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
