"""`cm verify`: whether the module, its image and what is deployed give the same answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from foundry_cm.cli import terminal
from foundry_cm.cli.console import err, milliseconds, say, say_next, show_json
from foundry_cm.cli.container import in_container
from foundry_cm.cli.deployed import reach
from foundry_cm.cli.options import Command, Engine, Env, Folder, Format, Timeout
from foundry_cm.cli.schema import changes
from foundry_cm.enrollment.functions import Deployed
from foundry_cm.errors import FAILURE, USAGE, CmError
from foundry_cm.local.function.foundry import LocalFoundry, Settings, check_mode
from foundry_cm.module.compare import difference
from foundry_cm.module.events import parse_event
from foundry_cm.module.project import Project
from foundry_cm.module.querytypes import definition, differences

TOLERANCE = 1e-5
LOCAL, IMAGE, DEPLOYED = "module", "image", "deployed"
# What ends the comparison: no further call would tell more.
_FATAL = {"Unreachable", "Refused", "NoToken", "Host"}


@dataclass(frozen=True)
class Sample:
    """One event of the folder events/; its function is what its name begins with."""

    file: str
    function: str
    event: Any


@dataclass(frozen=True)
class Outcome:
    """How one call ended."""

    seconds: float
    value: Any = None
    error: CmError | None = None


@dataclass
class Side:
    """One of those that are compared: how each event ended, and what it declares."""

    name: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    schemas: list[Any] = field(default_factory=list)
    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)


def verify(
    command: Command = None,
    container: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Also compare with this image.", show_default=False),
    ] = None,
    deployed: Annotated[
        bool,
        typer.Option(
            "--deployed",
            help="Also compare with the deployed functions, in the Foundry at FOUNDRY_HOSTNAME.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --deployed: call them without asking first.")
    ] = False,
    event: Annotated[
        list[Path] | None,
        typer.Option(help="A file with an event. Repeatable. Default: all files in events/."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="Largest relative difference of floating-point numbers."),
    ] = TOLERANCE,
    engine: Engine = None,
    timeout: Timeout = None,
    format: Format = "text",
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Send the events in events/ to the module, its image and the deployed functions, and compare.

    It compares results (numbers with a tolerance), declared types and times. It exits with code
    1 if something differs or a call fails. The name of a file says its function:
    events/search.json and events/search.empty.json are for search.
    """
    project = Project.read(folder).passing(env or [])
    check_mode(project.folder)
    if not container and not deployed:
        raise CmError(
            "There is nothing to compare the module with",
            fix="cm verify --container IMAGE, --deployed, or both.",
            exit_code=USAGE,
        )
    samples = _samples(project.folder, event or [])
    functions = list(dict.fromkeys(sample.function for sample in samples))
    real = reach(project, functions, yes) if deployed else None
    seconds = project.timeout_seconds if timeout is None else timeout
    settings = Settings.of(
        project,
        command=project.command(command or []),
        restart=False,
        timeout_seconds=seconds,
    )
    sides = [_run(LOCAL, settings, samples)]
    if container:
        sides.append(_run(IMAGE, in_container(settings, container, engine), samples))
    if real:
        sides.append(_ask(real, samples, seconds))
    _show(sides, samples, tolerance, format)


def _samples(folder: Path, named: Sequence[Path]) -> list[Sample]:
    files = named or sorted((folder / "events").glob("*.json"))
    found = [Sample(path.name, path.name.split(".")[0], _read(path)) for path in files]
    if not found:
        raise CmError(
            "There are no events to compare with",
            where=str(folder / "events"),
            fix="Make one: cm event FUNCTION > events/FUNCTION.json",
            exit_code=USAGE,
        )
    return found


def _read(path: Path) -> Any:
    try:
        return parse_event(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError):
        raise CmError("The event cannot be read", where=str(path), exit_code=USAGE) from None


def _run(name: str, settings: Settings, samples: Sequence[Sample]) -> Side:
    """Start the module, and send it each event."""
    say(f"Calling the {name}", "dim")
    return terminal.run(_called(Side(name), settings, samples))


async def _called(side: Side, settings: Settings, samples: Sequence[Sample]) -> Side:
    async with LocalFoundry(settings, terminal.Output()) as foundry:
        await foundry.ready()
        side.schemas = foundry.declarations.whole()
        side.definitions = {name: definition(each) for name, each in foundry.functions.items()}
        for sample in samples:
            began = time.perf_counter()
            try:
                done = await foundry.call(sample.function, sample.event)
                side.outcomes[sample.file] = Outcome(done.seconds, done.value)
            except CmError as error:
                seconds = time.perf_counter() - began
                side.outcomes[sample.file] = Outcome(seconds, error=error)
        await asyncio.sleep(0)
    return side


def _ask(real: Deployed, samples: Sequence[Sample], timeout: float) -> Side:
    """Send each event to the deployed function."""
    say(f"Calling what is deployed on {real.person.host}", "dim")
    side = Side(DEPLOYED)
    for sample in samples:
        began = time.perf_counter()
        try:
            side.definitions[sample.function] = real.definition(sample.function)
            done = real.call(sample.function, sample.event, timeout)
            side.outcomes[sample.file] = Outcome(done.seconds, done.value)
        except CmError as error:
            if error.code in _FATAL:
                raise
            seconds = time.perf_counter() - began
            side.outcomes[sample.file] = Outcome(seconds, error=error)
    return side


def _unlike(sample: Sample, sides: Sequence[Side], tolerance: float) -> list[str]:
    """What is wrong with an event: calls that failed, and results other than the module's."""
    first = sides[0].outcomes[sample.file]
    found = []
    for side in sides:
        outcome = side.outcomes[sample.file]
        if outcome.error:
            found.append(f"{side.name}: {outcome.error.what}")
        elif side is not sides[0] and not first.error:
            told = difference(first.value, outcome.value, tolerance)
            found += [f"{side.name}: {told}"] if told else []
    return found


def _undeclared(sides: Sequence[Side]) -> list[str]:
    """Where what an image or Foundry declares differs from what the module does."""
    first, found = sides[0], []
    for side in sides[1:]:
        if side.schemas:
            found += [f"{side.name}: {text}" for _, text in changes(first.schemas, side.schemas)]
        elif side.definitions:
            found += [
                f"{side.name}: {name}: {text}"
                for name in sorted(first.definitions.keys() & side.definitions.keys())
                for text in differences(first.definitions[name], side.definitions[name])
            ]
    return found


def _show(sides: Sequence[Side], samples: Sequence[Sample], tolerance: float, format: str) -> None:
    unlike = {sample.file: _unlike(sample, sides, tolerance) for sample in samples}
    schema = _undeclared(sides)
    same = not schema and not any(unlike.values())
    if format == "json":
        show_json(_as_json(sides, samples, unlike, schema, tolerance))
    else:
        err.print(_table(sides, samples, unlike))
    for text in schema:
        say(f"schema  {text}", "red")
    for file, texts in unlike.items():
        for text in texts:
            say(f"{file}  {text}", "red")
    if not same:
        raise typer.Exit(FAILURE)
    names = " and ".join(side.name for side in sides[1:])
    say(f"The same answers from the {sides[0].name} and {names}, within {tolerance:g}", "green")
    if len(sides) < 3 and sides[-1].name == IMAGE:
        say_next("cm publish", "pushes the image")


def _table(sides: Sequence[Side], samples: Sequence[Sample], unlike: dict[str, list[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("event", *(side.name for side in sides), "result"):
        table.add_column(name, justify="right" if name not in ("event", "result") else "left")
    for sample in samples:
        outcomes = [side.outcomes[sample.file] for side in sides]
        cells = ["failed" if each.error else milliseconds(each.seconds) for each in outcomes]
        failed = any(each.error for each in outcomes)
        result = "failed" if failed else "differs" if unlike[sample.file] else "same"
        table.add_row(sample.file, *cells, result)
    return table


def _as_json(
    sides: Sequence[Side],
    samples: Sequence[Sample],
    unlike: dict[str, list[str]],
    schema: list[str],
    tolerance: float,
) -> dict[str, Any]:
    """The comparison without the results themselves, which may be large, or not for a log."""
    return {
        "same": not schema and not any(unlike.values()),
        "tolerance": tolerance,
        "schema": schema,
        "events": [
            {
                "event": sample.file,
                "function": sample.function,
                "milliseconds": {
                    side.name: round(side.outcomes[sample.file].seconds * 1000, 3) for side in sides
                },
                "differences": unlike[sample.file],
            }
            for sample in samples
        ],
    }
