"""`cm serve`: run a module under the local Foundry until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_cm.cli import terminal
from foundry_cm.cli.console import label, milliseconds, say, say_next, show_error
from foundry_cm.cli.container import in_container
from foundry_cm.cli.debug import Asked, Debug, Debugging, DebugPort, Pdb, Wait
from foundry_cm.cli.note import announced
from foundry_cm.cli.options import Command, Engine, Env, Folder, Port, Record, Remote, finite
from foundry_cm.cli.panel import PANEL_PORT, Watched
from foundry_cm.cli.reload import reload_on_change
from foundry_cm.cli.remote import remote_inputs, show_remote
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.debugger import NO_HURRY_SECONDS
from foundry_cm.local.function.foundry import GRACE_SECONDS, CallResult, LocalFoundry, Settings
from foundry_cm.local.function.settings import Scaling
from foundry_cm.local.panel.calls import OF_CLIENT
from foundry_cm.local.panel.functions import functions_app
from foundry_cm.local.reporter import Several
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project
from foundry_cm.module.scaler import Override, Rules

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry

SHOWN_ITEMS = 5


def serve(
    command: Command = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Number of replicas. Default: min-replicas in pyproject.toml, or 1.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Concurrency limit of a replica. Default: concurrency in pyproject.toml, or 1.",
            show_default=False,
        ),
    ] = None,
    autoscale: Annotated[
        bool,
        typer.Option(
            "--autoscale",
            help="Add and remove replicas by the rules of Foundry's scaler, from min-replicas to "
            "max-replicas in pyproject.toml.",
        ),
    ] = False,
    time_scale: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=10000,
            metavar="N",
            help="Speed up the scaler's clock: with 60, a minute takes a second.",
            show_default=False,
        ),
    ] = None,
    min_replicas: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="For --autoscale; 0 is allowed.", show_default=False),
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option(min=1, max=64, help="For --autoscale.", show_default=False)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="'DAYS HOURS ZONE MIN-MAX'",
            help="For --autoscale: the scheduled override, such as 'mon-fri 08:00-18:00 Europe/Berlin 2-6'.",
            show_default=False,
        ),
    ] = None,
    port: Port = None,
    panel_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"Port of the query panel. Default: {PANEL_PORT}, or a free one.",
        ),
    ] = None,
    reload: Annotated[bool, typer.Option(help="Restart the module when its files change.")] = True,
    max_megabytes: Annotated[
        float | None,
        typer.Option(
            min=0.000001,
            callback=finite,
            help="Size limit of an event, and of a result, in MB. "
            "Default: max-megabytes in pyproject.toml, or 100.",
        ),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="Run this image in place of src/app.py.", show_default=False
        ),
    ] = None,
    engine: Engine = None,
    remote: Remote = None,
    record: Record = None,
    debug: Debug = False,
    debug_port: DebugPort = None,
    wait: Wait = False,
    pdb: Pdb = False,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Run the module under the local Foundry, until Ctrl-C.

    The module talks to it through the official SDK, as it does to the real one. Nothing listens
    beyond this machine.
    """
    project = Project.read(folder).passing(env or [])
    wanted = concurrency or project.concurrency
    scaling = None
    if autoscale and replicas is None:
        scaling = _scaling(project, wanted, min_replicas, max_replicas, schedule, time_scale)
    elif autoscale or {min_replicas, max_replicas, schedule, time_scale} != {None}:
        raise CmError(
            "--min-replicas, --max-replicas, --schedule and --time-scale are for --autoscale, which "
            "finds the number of --replicas itself",
            exit_code=USAGE,
        )
    settings = Settings.of(
        project,
        command=[] if container else project.command(command or []),
        replicas=replicas or project.replicas,
        concurrency=wanted,
        scaling=scaling,
        port=port,
        older=True,
        platform_port=None,
        remote=remote_inputs(project, remote),
        max_megabytes=max_megabytes or project.max_megabytes,
        record=record or [],
    )
    asked = Asked(debug, debug_port, wait, pdb)
    debugging = None
    if asked:
        settings, debugging = _debugged(settings, asked, replicas, container)
    if container:
        settings = in_container(settings, container, engine)
        reload = False
    asyncio.run(_serve(project, settings, panel_port, reload, debugging))


def _debugged(
    settings: Settings, asked: Asked, replicas: int | None, container: str | None
) -> tuple[Settings, Debugging]:
    """The settings that run one replica, in which a person may stand at a line for as long as it takes."""
    if container or (replicas or 1) > 1:
        raise CmError(
            f"{'--container' if container else '--replicas'} does not go with --debug and --pdb",
            fix="An image has no debugger: run the module itself."
            if container
            else "Debug one replica.",
            exit_code=USAGE,
        )
    debugging = asked.begin(settings.command, settings.folder)
    return dataclasses.replace(
        settings,
        replicas=1,
        scaling=None,
        timeout_seconds=NO_HURRY_SECONDS,
        launch=debugging.launch,
    ), debugging


def _scaling(
    project: Project,
    concurrency: int,
    least: int | None,
    most: int | None,
    schedule: str | None,
    time_scale: float | None,
) -> Scaling:
    """The rules that Foundry's scaler would keep for this module."""
    set_ = project.settings
    rules = Rules(
        minimum=set_.min_replicas if least is None else least,
        maximum=most or set_.max_replicas,
        concurrency=concurrency,
        override=Override.parse(schedule) if schedule else None,
    )
    return Scaling(rules, time_scale or 1.0)


async def _serve(
    project: Project,
    settings: Settings,
    panel_port: int | None,
    reload: bool,
    debugging: Debugging | None,
) -> None:
    stop = terminal.told_to_stop()
    watched = Watched(project.folder)
    most = settings.scaling.rules.maximum if settings.scaling else settings.replicas
    foundry = LocalFoundry(settings, Several(_Terminal(most), watched.recorder))
    secret = secrets.token_urlsafe(24)
    app = functions_app(
        foundry, watched.recorder, _show_call, findings=watched.findings, secret=secret
    )
    debugger = debugging.open() if debugging else contextlib.nullcontext()
    async with watched.panel(app, panel_port) as panel, debugger, foundry:
        foundry.queries.recorded = app[OF_CLIENT]
        _show_banner(foundry, panel)
        if debugging:
            debugging.show()
        with announced(project.folder, panel, secret, foundry.remove_if_killed):
            reloading = None
            if reload:
                # Whoever stands at a line is not cut off by a change of it.
                patience = NO_HURRY_SECONDS if debugging else GRACE_SECONDS
                reloading = asyncio.create_task(_reload(foundry, project, stop, watched, patience))
            await stop.wait()
            if reloading:
                reloading.cancel()
            await _drain(foundry, stop)


async def _drain(foundry: LocalFoundry, stop: asyncio.Event) -> None:
    """Let the calls that run come to their end; who is told to stop a second time does so at once."""
    running = foundry.running
    if not running:
        say("stopping")
        return
    calls = "1 call is" if running == 1 else f"{running} calls are"
    say(
        f"stopping once {calls} answered, in {GRACE_SECONDS:g} s at most; a second Ctrl-C stops at once"
    )
    stop.clear()
    ended = [asyncio.create_task(foundry.drain()), asyncio.create_task(stop.wait())]
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    for waiting in ended:
        waiting.cancel()


async def _reload(
    foundry: LocalFoundry, project: Project, stop: asyncio.Event, watched: Watched, patience: float
) -> None:
    await reload_on_change(
        project,
        stop,
        watched.told(partial(foundry.reload, seconds=patience)),
        on_refused=watched.recorder.refuses,
        command=foundry.settings.command,
        at_rest_since=foundry.at_rest_since,
    )


def _show_banner(foundry: LocalFoundry, panel: str) -> None:
    settings = foundry.settings
    count = f"{settings.replicas} replica{'s' if settings.replicas > 1 else ''}"
    if settings.scaling:
        rules, scale = settings.scaling.rules, settings.scaling.time_scale
        count = f"{rules.minimum} to {rules.maximum} replicas"
        count += f", scaled {scale:g} times as fast as by Foundry" if scale != 1 else ""
    label("cm serve  ", shlex.join(settings.command))
    say(f"  runtime  https://{foundry.address}  {count}, concurrency {settings.concurrency}")
    say(f"  panel    {panel}")
    # A container knows this machine by another name.
    address = f"localhost:{foundry.platform.rpartition(':')[2]}"
    say(
        f"  platform https://{address}  applications call the functions there, as in Foundry, with:"
    )
    say(
        f"             export FOUNDRY_HOSTNAME={address} FOUNDRY_TOKEN={foundry.tokens.caller} "
        f"REQUESTS_CA_BUNDLE={shlex.quote(foundry.ca)}"
    )
    show_remote(settings.remote)
    if foundry.registry:
        _show_data(foundry.registry, f"{panel}/api/data", settings.remote)


def _show_data(registry: Registry, everything: str, remote: Mapping[str, str]) -> None:
    """What the module may read on the platform, and what a call names it by; `remote` is shown already."""
    if registry.ontology:
        found = registry.ontology.described()
        counts = ", ".join(f"{name} ({count})" for name, count in found["objects"].items())
        say(f"  objects  data/ontology/  {found['name']}  {found['rid']}")
        say(f"             {counts or 'none'}; actions: {', '.join(found['actions']) or 'none'}")
    for each in registry.catalogue(SHOWN_ITEMS + 1):
        if each["name"] in remote:
            continue
        say(f"  data     data/{each['name']}/  {each['kind']}  {each['rid']}")
        if each["kind"] != "media_set":
            continue
        for item in each["files"][:SHOWN_ITEMS]:
            say(f"             {item['path']}  {item['rid']}")
        if len(each["files"]) > SHOWN_ITEMS:
            say(f"             and more: {everything}")


def _show_call(name: str, outcome: CallResult | CmError) -> None:
    if isinstance(outcome, CmError):
        say(f"call {name} failed", "red")
        show_error(outcome)
    else:
        say(
            f"call {name} answered in {milliseconds(outcome.seconds)} by replica {outcome.replica}",
            "green",
        )


class _Terminal(terminal.Output):
    """Shows what happens to the module."""

    def died(self, replica: int, error: CmError, delay: float | None) -> None:
        show_error(error)
        if delay is not None:
            when = f" in {delay:g} s, or at the next change of its files" if delay else ""
            say(f"Replica {replica} starts again{when}.", "yellow")

    def scaled(self, before: int, wished: int, why: str) -> None:
        label("scaler    ", f"{before} -> {wished} replicas: {why}", text_style="cyan")

    def leaves(self, replica: int, why: str) -> None:
        say(f"Replica {replica} takes no more calls and stops: {why}", "dim")

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        for function in functions:
            label("function  ", function.signature(), text_style="cyan")
        for text in warnings:
            label("warning: ", text, style="bold yellow")
        if functions:
            say_next(f"cm call {functions[0].name}", "in a second terminal")
