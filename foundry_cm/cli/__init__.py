"""The command `cm`: one file for each verb."""

from __future__ import annotations

import sys

import typer

from foundry_cm import __version__
from foundry_cm.cli import build, call, check, event, publish, run, schema, serve, weights
from foundry_cm.cli.console import show_error
from foundry_cm.errors import CmError

app = typer.Typer(
    name="cm",
    help="Run, call and check a Foundry compute module on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("call")(call.call)
app.command("event")(event.event)
app.command("run")(run.run)
app.command("schema")(schema.schema)
app.command("check")(check.check)
app.add_typer(weights.app)
app.command("build")(build.build)
app.command("publish")(publish.publish)


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
