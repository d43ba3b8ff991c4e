"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# Typer reads these annotations at run time, on Python 3.10 as well.
Folder = Annotated[
    Path, typer.Option("--folder", "-C", help="The folder of the module.", show_default=False)
]
Command = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="[-- COMMAND ...]",
        help="The command that runs the module, in any language.  [default: python src/app.py]",
        show_default=False,
    ),
]
