"""`cm bench`: how a module does under load, at which settings."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from foundry_cm import __version__
from foundry_cm.cli import measured, terminal
from foundry_cm.cli.console import label, say, say_next, show_json
from foundry_cm.cli.container import in_container
from foundry_cm.cli.options import Command, Engine, Env, Folder, Format, duration, finite
from foundry_cm.errors import USAGE, CmError
from foundry_cm.load import calls, chart
from foundry_cm.load.compare import compare, differences
from foundry_cm.load.machine import this_machine
from foundry_cm.load.result import Result
from foundry_cm.load.sweep import Asked, Sweep
from foundry_cm.local.function.foundry import Settings, check_mode
from foundry_cm.module.project import Project

OUTPUT = "bench.json"
_MOST = {"--replicas": 64, "--concurrency": 1024}


def bench(
    command: Command = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[FUNCTION=]FILE[@WEIGHT]",
            help="An event to send, and its weight. Repeatable. Default: all files in events/, "
            "with the same weight.",
            show_default=False,
        ),
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Numbers of replicas to try. Default: 1, 2 and one per core, as far as memory "
            "allows.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Concurrency limits to try. Default: 1, 2, 4, ... as long as it helps.",
            show_default=False,
        ),
    ] = None,
    target_p95: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="Find the highest load that keeps p95 below this, such as 200ms.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds that each measurement lasts, at least.")
    ] = 2.0,
    runs: Annotated[
        int,
        typer.Option(
            min=1, max=50, help="Repeat each measurement this many times, with new processes."
        ),
    ] = 5,
    seed: Annotated[int, typer.Option(help="Seed for the arrivals and the order of events.")] = 1,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with an earlier result.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help=f"Write the result here, and its chart beside it. Default: {OUTPUT}.",
            show_default=False,
        ),
    ] = None,
    format: Format = "text",
    timeout: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            help="Seconds that a start, or a call, may take. Default: timeout-seconds in "
            "pyproject.toml, or 300.",
        ),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="Measure this image in place of src/app.py.", show_default=False
        ),
    ] = None,
    engine: Engine = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Measure the module under load, with its own events and several settings.

    It measures calls per second, latency (for callers that wait, and for calls that arrive at
    random), and what a replica needs. Stop other work on this machine first: it distorts the
    figures.
    """
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    asked = Asked(
        replicas=_numbers(replicas, "--replicas"),
        concurrency=_numbers(concurrency, "--concurrency"),
        seconds=seconds,
        runs=runs,
        target_p95=target_p95,
        seed=seed,
    )
    earlier = Result.read(against) if against else None
    given = calls.chosen([calls.Given.parse(text) for text in event or []], project.folder)
    settings = Settings.of(
        project,
        command=[] if container else project.command(command or [], verb="bench"),
        timeout_seconds=timeout or project.timeout_seconds,
    )
    if container:
        settings = in_container(settings, container, engine)
    sweep = Sweep(
        settings, lambda foundry: calls.calls_of(foundry, given, asked=bool(event)), asked
    )
    file = output or project.folder / OUTPUT
    began = datetime.now(UTC).astimezone()
    failure = None
    try:
        with measured.progress() as sweep.say:
            terminal.run(sweep.run())
    except CmError as error:
        failure = error
    result = _result(sweep, project, settings, container, began)
    if result.settings:
        _show(result, sweep.notes, file, earlier, format)
    if failure:
        raise failure
    if any(setting.closed.errors for setting in result.settings):
        raise CmError("Calls failed under load", fix="The table says how many.", code="CallsFailed")
    if result.target_p95 and not result.best:
        raise CmError("No setting keeps the target at any load", code="TargetMissed")
    plan = f"cm plan --bench {shlex.quote(str(output))}" if output else "cm plan"
    target = "" if result.target_p95 else " --target-p95 1s"
    say_next(f"{plan} --calls 60{target}", "finds replicas for the calls a minute that you expect")


def _result(
    sweep: Sweep, project: Project, settings: Settings, image: str | None, began: datetime
) -> Result:
    return Result(
        foundry_cm=__version__,
        began=began.isoformat(timespec="seconds"),
        module=project.folder.name,
        command=tuple(settings.command),
        image=image,
        machine=this_machine(sweep.gpus),
        events=tuple(call.event for call in sweep.calls),
        seed=sweep.asked.seed,
        target_p95=sweep.asked.target_p95,
        settings=sweep.settings,
    )


def _show(
    result: Result, notes: list[str], file: Path, earlier: Result | None, format: str
) -> None:
    """Write the files, and print the tables; what was measured is kept even if more failed."""
    result.write(file)
    picture = file.with_suffix(".png")
    drawn = chart.draw(result, picture)
    if format == "json":
        show_json(measured.as_json(result))
    else:
        measured.show(result, notes)
    if earlier:
        measured.show_changes(compare(earlier, result), differences(earlier, result))
    label("result: ", str(file) + (f", {picture.name}" if drawn else ""))
    if not drawn:
        say(f"For a chart: pip install '{chart.EXTRA}'", "yellow")


def _numbers(text: str | None, option: str) -> tuple[int, ...]:
    if text is None:
        return ()
    most = _MOST[option]
    parts = [part.strip() for part in text.split(",")]
    if all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
        return tuple(sorted({int(part) for part in parts}))
    raise CmError(
        f'{option} "{text}" is not a list of numbers from 1 to {most}',
        fix=f"Such as: {option} 1,2,4",
        exit_code=USAGE,
    )
