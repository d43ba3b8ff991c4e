"""`cm run`: run a pipeline module against local datasets and streams."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shlex
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from foundry_cm.cli import terminal
from foundry_cm.cli.console import (
    err,
    label,
    say,
    say_actions,
    say_next,
    show_error,
    show_json,
)
from foundry_cm.cli.debug import Asked, Debug, Debugging, DebugPort, Pdb, Wait
from foundry_cm.cli.options import Command, Env, Folder, Record, Remote
from foundry_cm.cli.panel import PANEL_PORT, Watched
from foundry_cm.cli.reload import reload_on_change
from foundry_cm.cli.remote import remote_inputs, show_remote
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.addresses import PLATFORM_PORT
from foundry_cm.local.reporter import Several
from foundry_cm.module.project import Project
from foundry_cm.module.resources import FILE as RESOURCES

if TYPE_CHECKING:
    from foundry_cm.local.pipeline.pipeline import LocalPipeline

LOOK_SECONDS = 0.2
SILENT_SECONDS = 30


def run(
    command: Command = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Keep running until Ctrl-C: process what you add, and restart the module when "
            "its code changes.",
        ),
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[=VALUE][@[PHASE-]POINT][#N]",
            help="Inject a fault, such as 503, latency=0.5@read, fail@commit, reset@after-commit,"
            " expire-token or kill@mid-upload#2. Repeatable.",
        ),
    ] = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Open the output transactions before the run, as a build in Foundry does, and "
            "commit them at the end.",
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Process everything again: first remove what earlier runs wrote to outputs/. "
            "Your own files there stay.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"Port of the platform. Default: {PLATFORM_PORT}, or the next free one.",
        ),
    ] = None,
    panel_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"With --follow: port of the query panel. Default: {PANEL_PORT}, or a free one.",
        ),
    ] = None,
    format: Annotated[
        Literal["text", "json"], typer.Option(help="Format of the summary.")
    ] = "text",
    remote: Remote = None,
    record: Record = None,
    debug: Debug = False,
    debug_port: DebugPort = None,
    wait: Wait = False,
    pdb: Pdb = False,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Run a pipeline module until it has nothing left to do.

    The module reads data/ALIAS/ and writes outputs/ALIAS/, with the official client and a
    platform API on this machine. As in Foundry, it skips what it has processed before: --fresh
    starts from the beginning.
    """
    from foundry_cm.local.pipeline.pipeline import LocalPipeline, Settings

    project = Project.read(folder).passing(env or [])
    asked = Asked(debug, debug_port, wait, pdb)
    words = project.command(command or [], verb="run")
    debugging = asked.begin(words, project.folder) if asked else None
    settings = Settings(
        command=words,
        launch=debugging.launch if debugging else None,
        folder=project.folder,
        passed=project.env,
        scratch=project.scratch,
        root=project.folder,
        faults=fault or [],
        of_build=build,
        port=PLATFORM_PORT if port is None else port,
        or_next=port is None,
        fresh=fresh,
        remote=remote_inputs(project, remote),
        record=record or [],
    )
    if importlib.util.find_spec("pyarrow") is None:
        raise CmError(
            "cm run needs pyarrow to read tables, and it is not installed",
            fix='pip install "foundry-cm[pipeline]"',
            code="MissingExtra",
            exit_code=USAGE,
        )
    watched = Watched(project.folder) if follow else None
    output = terminal.Output()
    pipeline = LocalPipeline(settings, Several(output, watched.recorder) if watched else output)
    asyncio.run(_run(pipeline, project, watched, panel_port, debugging))
    again = " ".join(["cm run", *(["--", shlex.join(command)] if command else [])])
    _show(pipeline, project.folder, format, again)


def _progress(shown: bool) -> Progress:
    return Progress(
        TextColumn("reading"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=err,
        disable=not (shown and err.is_terminal),
        transient=True,
    )


async def _run(
    pipeline: LocalPipeline,
    project: Project,
    watched: Watched | None,
    panel_port: int | None,
    debugging: Debugging | None,
) -> None:
    stop = terminal.told_to_stop()
    async with (
        debugging.open() if debugging else contextlib.nullcontext(),
        _panel(pipeline, watched, panel_port) as panel,
        pipeline,
    ):
        _show_banner(pipeline, panel)
        if debugging:
            debugging.show()
        with _progress(shown=not debugging) as progress:
            ends = [stop.wait(), _ends(pipeline, silent=bool(watched or debugging))]
            ends.append(_follow(pipeline, project, stop, watched) if watched else pipeline.idle())
            # It looks at the size of every input file, so only where somebody sees the bar.
            if not progress.disable:
                ends.append(_show_progress(pipeline, progress))
            await _first(ends)
        await _finish(pipeline, stop)


def _panel(
    pipeline: LocalPipeline, watched: Watched | None, port: int | None
) -> contextlib.AbstractAsyncContextManager[str | None]:
    """The panel where the run goes on until Ctrl-C, else nothing."""
    if watched is None:
        return contextlib.nullcontext()
    from foundry_cm.local.panel.pipelines import pipeline_app

    app = pipeline_app(pipeline, watched.recorder, findings=watched.findings)
    return watched.panel(app, port)


async def _finish(pipeline: LocalPipeline, stop: asyncio.Event) -> None:
    """End the module; who does not want to wait for it any longer says so a second time."""
    if stop.is_set():
        say("stopping")
        stop.clear()
    finishing, again = asyncio.create_task(pipeline.finish()), asyncio.create_task(stop.wait())
    await asyncio.wait({finishing, again}, return_when=asyncio.FIRST_COMPLETED)
    if not finishing.done():
        pipeline.kill()
    again.cancel()
    await finishing


async def _first(waits: Sequence[Coroutine[Any, Any, object]]) -> None:
    """Wait until one of these has ended; the others are given up."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ends(pipeline: LocalPipeline, *, silent: bool) -> None:
    """Wait until the module has ended with code 0; raises the `CmError` of a run that cannot go on.

    `silent`: that it calls nothing for long is as it should be.
    A module that fails once its code was changed waits for the next change.
    """
    shown: CmError | None = None
    told = silent
    while not pipeline.ended:
        failure = pipeline.failure
        if failure and not (pipeline.reloads and failure.code == "ModuleDied"):
            raise failure.again()
        if failure and failure is not shown:
            shown = failure
            show_error(failure)
            say("cm restarts it when its code changes.", "yellow")
        if not told and pipeline.silent_seconds >= SILENT_SECONDS:
            told = True
            say(
                f"The module has called nothing for {SILENT_SECONDS} s. cm run waits until it ends, or "
                "looks at its inputs again; Ctrl-C ends it.",
                "yellow",
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _follow(
    pipeline: LocalPipeline, project: Project, stop: asyncio.Event, watched: Watched
) -> None:
    async def restart(why: str) -> None:
        if RESOURCES.name in why:
            say(f"The platform has the inputs and outputs of {RESOURCES} from the next cm run on.")
        await pipeline.reload()

    folders = ("data", "outputs")
    await reload_on_change(
        project,
        stop,
        watched.told(restart),
        command=pipeline.settings.command,
        besides=folders,
        goes_on="goes on",
        on_refused=watched.recorder.refuses,
    )


async def _show_progress(pipeline: LocalPipeline, progress: Progress) -> None:
    from foundry_cm.local.pipeline.pipeline import read_bytes, total_bytes

    task = progress.add_task("reading", total=None)
    while True:
        total = max(total_bytes(pipeline.registry), 1)
        progress.update(task, total=total, completed=read_bytes(pipeline.registry))
        await asyncio.sleep(LOOK_SECONDS)


def _show_banner(pipeline: LocalPipeline, panel: str | None) -> None:
    label("cm run  ", shlex.join(pipeline.settings.command))
    say(f"  platform  https://{pipeline.address}")
    if panel:
        say(f"  panel     {panel}")
    show_remote(pipeline.settings.remote)


def _show(pipeline: LocalPipeline, folder: Path, format: str, again: str) -> None:
    moved, ontology = pipeline.moved(), pipeline.registry.ontology
    actions = ontology.edits.applied if ontology else 0
    errors = pipeline.errors_alias
    rows = {"in": 0, "out": 0, "errors": 0}
    for each in moved:
        alias = each.resource.alias
        if not each.resource.is_reference:
            rows["errors" if alias == errors else "out" if each.resource.writable else "in"] += (
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
                **({"actions": actions} if ontology else {}),
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "alias", "kind", "rows", "where"):
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    for each in moved:
        alias = each.resource.alias
        role = "errors" if alias == errors else "output" if each.resource.writable else "input"
        role = "reference" if each.resource.is_reference else role
        where = f"{each.folder.relative_to(folder)}/"
        if each.resource.remote:
            where = f"{each.resource.remote}, counted by reads"
        table.add_row(role, alias, each.resource.kind, f"{each.rows:,}", where)
    err.print(table)
    say(
        f"{rows['in']:,} rows in, {rows['out']:,} rows out, {rows['errors']:,} errors, "
        f"{pipeline.seconds:.1f} s",
        "yellow" if rows["errors"] else "green",
    )
    say_actions(actions)
    for struck in pipeline.faults.struck:
        say(f"fault {struck}", "yellow")
    for asked in pipeline.faults.idle:
        say(f"fault {asked} never struck: no call came to that point", "yellow")
    for alias in pipeline.left_open():
        say(f"A transaction on {alias} is still open: nothing in it is committed.", "yellow")
    if pipeline.ended:
        say("The module ended by itself, with code 0. Foundry would restart it.")
    if pipeline.rested and not pipeline.paced:
        say(
            "cm stopped it because it was idle: it looked at its inputs again and found nothing "
            "new."
        )
    if rows["errors"]:
        [refused] = [each.folder for each in moved if each.resource.alias == errors]
        say_next(
            f"cat {refused.relative_to(folder)}/*.jsonl",
            "says of each refused record why, and where it came from",
        )
    elif rows["in"] and pipeline.paced:
        say_next(again, "again: it reads only what is new in data/")
    else:
        if not rows["out"] and not actions:
            say("There was nothing new in data/, so nothing was written.")
            for each in moved:
                if not (each.resource.writable or each.resource.remote or _has_files(each.folder)):
                    say(f"There is no file in {each.folder.relative_to(folder)}/.", "yellow")
        fresh = again.replace("cm run", "cm run --fresh", 1)
        say_next(fresh, "removes what it wrote, and processes everything again")


def _has_files(folder: Path) -> bool:
    return any(each.is_file() for each in folder.rglob("*"))
