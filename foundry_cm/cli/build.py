"""`cm build`: the module's image, its size by layer, and what Foundry would refuse in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli.console import out, say, say_next, show_json
from foundry_cm.cli.options import Engine, EngineOptions, Folder, Format, Secrets
from foundry_cm.image import build as images
from foundry_cm.image.engines import Secret, find_engine
from foundry_cm.image.image import check_name, check_tag
from foundry_cm.image.lock import lock
from foundry_cm.image.version_tag import local_tag
from foundry_cm.module.project import Project
from foundry_cm.weights.request import note as other_weights


def build(
    engine_options: EngineOptions = None,
    tag: Annotated[
        str | None,
        typer.Option(help="Tag of the image. Default: derived from git.", show_default=False),
    ] = None,
    engine: Engine = None,
    secret: Secrets = None,
    format: Format = "text",
    folder: Folder = Path(),
) -> None:
    """Build the image for linux/amd64, and check it against Foundry's rules and its size budget.

    The budget is image-budget-mb of tool.foundry-cm in pyproject.toml: MB of all layers,
    uncompressed. It exits with code 1 if the image breaks a rule or exceeds the budget.
    """
    project = Project.read(folder)
    name = check_name(project.image)
    other = other_weights(project)
    report = images.build(
        project.folder,
        f"{name}:{check_tag(tag) if tag else local_tag(project.folder)}",
        find_engine(engine),
        budget=project.image_budget,
        secrets=[Secret.parse(text) for text in secret or ()],
        extra=engine_options or (),
    )
    if format == "json":
        show_json(report.as_json())
    else:
        report.show(out)
    report.check()
    if other is not None:
        say(other, "yellow")
        say_next("cm weights pull", "locks and fetches what it asks for; then build again")
    if (stale := lock.note(project)) is not None:
        say(stale, "yellow")
        say_next("cm lock", "writes it, and each build is the same then")
    if not (project.folder / "src" / "resources.json").is_file():  # a pipeline answers no calls
        say_next(f"cm serve --container {report.image.ref}", "runs it as Foundry would")
    say_next("cm publish", "pushes it to Foundry")
