"""`cm run`: run a pipeline module against local datasets and streams."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from foundry_cm.cli import terminal
from foundry_cm.cli.console import err, say, say_next, show_json
from foundry_cm.cli.options import Command, Folder
from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.project import Project

if TYPE_CHECKING:
    from foundry_cm.local.pipeline.pipeline import LocalPipeline


def run(
    command: Command = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until Ctrl-C, and take in what you add.")
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[=VALUE][@[PHASE-]POINT][#N]",
            help="What goes wrong on purpose, such as 503, latency=0.5@read, fail@commit, reset@after-commit, expire-token, kill@mid-upload#2. May be given several times.",
        ),
    ] = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Open the output transactions beforehand, as Foundry's build system does, and commit them at the end.",
        ),
    ] = False,
    format: Annotated[
        Literal["text", "json"], typer.Option(help="How the summary is printed.")
    ] = "text",
    folder: Folder = Path(),
) -> None:
    """Run a pipeline module until it has nothing left to do.

    It reads what lies in data/ALIAS/ and writes to outputs/ALIAS/, through the official client and a
    platform API on this machine. What it has read once it does not read again.
    """
    from foundry_cm.local.pipeline.pipeline import LocalPipeline, Settings

    project = Project.read(folder)
    settings = Settings(
        command=project.command(command or []),
        folder=project.folder,
        root=project.folder,
        faults=fault or [],
        of_build=build,
    )
    pipeline = LocalPipeline(settings, terminal.Output())
    if importlib.util.find_spec("pyarrow") is None:
        raise CmError(
            "cm run needs pyarrow to read tables, and it is not installed",
            fix='pip install "foundry-cm[pipeline]"',
            code="MissingExtra",
            exit_code=USAGE,
        )
    asyncio.run(_run(pipeline, _progress(), follow))
    _show(pipeline, project.folder, format)


def _progress() -> Progress:
    return Progress(
        TextColumn("reading"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


async def _run(pipeline: LocalPipeline, progress: Progress, follow: bool) -> None:
    from foundry_cm.local.pipeline.pipeline import read_bytes, total_bytes

    stop = terminal.told_to_stop()
    task = progress.add_task("reading", total=None)

    async def watch() -> None:
        while True:
            total = max(total_bytes(pipeline.registry), 1)
            progress.update(task, total=total, completed=read_bytes(pipeline.registry))
            pipeline.check()
            await asyncio.sleep(0.2)

    async with pipeline:
        with progress:
            ended = asyncio.create_task(stop.wait())
            watching = asyncio.create_task(watch())
            waits = [ended, watching]
            if not follow:
                waits.append(asyncio.create_task(pipeline.idle()))
            done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for waiting in pending:
                waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                for finished in done:
                    finished.result()
            await pipeline.finish()


def _show(pipeline: LocalPipeline, folder: Path, format: str) -> None:
    moved = pipeline.moved()
    errors = {name for name in (each.resource.alias for each in moved) if name.endswith("-errors")}
    rows = {"in": 0, "out": 0, "errors": 0}
    for each in moved:
        alias = each.resource.alias
        rows["errors" if alias in errors else "out" if each.resource.writable else "in"] += (
            each.rows
        )
    if format == "json":
        show_json(
            {
                "rowsIn": rows["in"],
                "rowsOut": rows["out"],
                "errors": rows["errors"],
                "seconds": round(pipeline.seconds, 3),
                "faults": pipeline.faults.struck,
                "resources": {each.resource.alias: each.rows for each in moved},
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "alias", "kind", "rows", "where"):
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    for each in moved:
        alias = each.resource.alias
        role = "errors" if alias in errors else "output" if each.resource.writable else "input"
        where = f"{each.folder.relative_to(folder)}/"
        table.add_row(role, alias, each.resource.kind, f"{each.rows:,}", where)
    err.print(table)
    say(
        f"{rows['in']:,} rows in, {rows['out']:,} rows out, {rows['errors']:,} errors, "
        f"{pipeline.seconds:.1f} s",
        "yellow" if rows["errors"] else "green",
    )
    for struck in pipeline.faults.struck:
        say(f"fault {struck}", "yellow")
    if rows["errors"]:
        [refused] = [each.folder for each in moved if each.resource.alias in errors]
        say_next(
            f"cat {refused.relative_to(folder)}/*.jsonl",
            "says of each refused record why, and where it came from",
        )
    elif rows["in"]:
        say_next("cm run", "again: it reads only what is new in data/")
    else:
        say("Nothing new in data/: nothing was written.")
