"""`cm publish`: build, check and push the image, and say what to click next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli.console import err, out, say, show_json
from foundry_cm.cli.options import Engine, EngineOptions, Folder, Format, Secrets
from foundry_cm.image import publish as images
from foundry_cm.image.engines import Secret
from foundry_cm.image.lock import lock
from foundry_cm.weights.request import note as other_weights


def publish(
    engine_options: EngineOptions = None,
    tag: Annotated[
        str | None,
        typer.Option(help="Tag of the image. Default: derived from git.", show_default=False),
    ] = None,
    allow_dirty: Annotated[
        bool, typer.Option(help="Publish uncommitted changes, with a tag that ends in -dirty.")
    ] = False,
    registry: Annotated[
        str | None,
        typer.Option(
            help="Host of the registry. Default: that of FOUNDRY_HOSTNAME.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands without running them.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add image=, digest= and built= to this file, for the next steps of a CI job.",
            show_default=False,
        ),
    ] = None,
    engine: Engine = None,
    secret: Secrets = None,
    format: Format = "text",
    folder: Folder = Path(),
) -> None:
    """Build the module's image and push it to your Artifacts repository in Foundry.

    Set REPOSITORY and TOKEN in the environment: the page Publish > Docker of the Artifacts
    repository shows both. Set FOUNDRY_HOSTNAME to the host of your Foundry: the token is sent
    to no other.
    """
    request = images.Request(
        folder=folder.resolve(),
        engine=engine,
        registry=registry,
        tag=tag,
        allow_dirty=allow_dirty,
        secrets=tuple(Secret.parse(text) for text in secret or ()),
        extra=tuple(engine_options or ()),
    )
    plan, missing = images.preflight(request)
    if dry_run and plan is not None:
        for error in missing:
            say(f"missing: {error.what}. {error.fix}", "yellow")
        for command in plan.commands(Path()):
            out.print(command.shown())
        return
    ready = images.ready(plan, missing)
    if (stale := lock.note(ready.project)) is not None:
        say(f"{stale} (cm lock)", "yellow")
    if (other := other_weights(ready.project)) is not None:
        say(f"{other} (cm weights pull)", "yellow")
    done = images.publish(ready, err)
    if output:
        done.add_to(output)
    if format == "json":
        show_json(done.as_json())
    else:
        done.show(out)
