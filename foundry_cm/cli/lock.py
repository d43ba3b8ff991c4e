"""`cm lock`: the same packages and the same base image in each build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foundry_cm.cli.console import say, say_next
from foundry_cm.cli.options import Folder
from foundry_cm.errors import USAGE, CmError
from foundry_cm.image.lock import lock as locks
from foundry_cm.module.project import Project


def lock(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Check the lock without writing it; exit with code 1 if it is stale."
        ),
    ] = False,
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="Take the newest versions and the newest base image."),
    ] = False,
    no_base: Annotated[
        bool,
        typer.Option("--no-base", help="Do not pin the base image; no registry is asked."),
    ] = False,
    folder: Folder = Path(),
) -> None:
    """Pin the packages of the image, by version and hash, in requirements.lock.

    The lock is for linux/amd64. The Dockerfile installs it, and cm pins the digest of its base
    image as well. Versions that are locked stay until the requirements no longer allow them, or
    until you pass --upgrade. Indexes come from the requirement files, pip.conf and uv's
    settings.
    """
    if check and (upgrade or no_base):
        raise CmError("--check writes nothing", fix="Pass it alone.", exit_code=USAGE)
    project = Project.read(folder)
    if check:
        if found := locks.problem(project):
            raise found
        say(f"{locks.LOCK} is up to date", "green")
        return
    done = locks.write(project, base=not no_base, upgrade=upgrade)
    for name, count in done.packages.items():
        say(f"Wrote {name}: {count} package{'s'[: count != 1]} by version and hash")
    for base in done.bases:
        at = f"Dockerfile:{base.line}  {base.name}"
        say(f"{at} {'is ' + base.digest if base.digest else 'is not pinned'}")
    if not locks.installs(project):
        say(
            f"The Dockerfile does not install it: pip install --require-hashes -r {locks.LOCK}",
            "yellow",
        )
    say_next("cm build", "builds the image with them; commit what was written")
