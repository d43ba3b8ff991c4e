"""Arguments and options that several verbs share."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from foundry_cm.local.addresses import RUNTIME_PORT


def finite(value: float | None) -> float | None:
    """A time or a size that ends; click's own limits let infinity and NaN through."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not a finite number above 0.")
    return value


def duration(text: str) -> float:
    """Read a time with its unit, such as 200ms, 1.5s or 2min, as seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min)", text.strip())
    seconds = float(found[1]) * {"ms": 0.001, "s": 1, "min": 60}[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(f'"{text}" is not a time; give it with its unit: 200ms or 1.5s')
    return seconds


# Typer reads these annotations at run time.
Folder = Annotated[
    Path, typer.Option("--folder", "-C", help="The folder of the module.", show_default=False)
]
Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- COMMAND ...]",
        help="The command that runs the module, in any language. "
        "Default: command in pyproject.toml, or python src/app.py.",
        show_default=False,
    ),
]
Format = Annotated[
    Literal["text", "json"], typer.Option(help="Format of the result on standard output.")
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="docker, podman or buildah. Default: the first that answers.",
        show_default=False,
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="id=NAME,env=VARIABLE|src=FILE",
        help="A build secret, such as id=pip-conf,src=pip.conf for a private index.",
        show_default=False,
    ),
]
EngineOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- OPTION ...]",
        help="Options for the engine's build command.",
        show_default=False,
    ),
]

Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[=VALUE]",
        help="An environment variable for the module, besides those of Foundry. A name alone "
        "takes its value from your shell. Repeatable.",
        show_default=False,
    ),
]
Remote = Annotated[
    list[str] | None,
    typer.Option(
        "--remote",
        metavar="NAME[=RID]",
        help="Read this dataset, media set or object type from the Foundry at FOUNDRY_HOSTNAME, "
        "with "
        "FOUNDRY_TOKEN. For an object type, give the RID of its Ontology. A name alone takes its "
        "RID "
        "from \\[tool.foundry-cm.remote]. Repeatable.",
        show_default=False,
    ),
]
Record = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Send requests of this Source to the real system, and write its answers into the "
        "folder that sources.local.toml names. Repeatable.",
        show_default=False,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help=f"Port of the runtime. Default: {RUNTIME_PORT}, or a free one.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        help="Seconds to wait, from the start of the module. Default: timeout-seconds in "
        "pyproject.toml, or 300.",
    ),
]
