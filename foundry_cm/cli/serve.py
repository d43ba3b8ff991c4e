"""`cm serve`: run a module under the local Foundry until Ctrl-C."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_cm.cli import terminal
from foundry_cm.cli.console import label, milliseconds, say, say_next, show_error
from foundry_cm.cli.note import announced
from foundry_cm.cli.options import Command, Engine, Env, Folder, Port, Record, finite
from foundry_cm.cli.reload import reload_on_change
from foundry_cm.errors import CmError
from foundry_cm.image.engines import find_engine
from foundry_cm.image.image import check_ref
from foundry_cm.image.launch import launcher
from foundry_cm.local import panel as panel_api
from foundry_cm.local.addresses import free_port
from foundry_cm.local.function.foundry import GRACE_SECONDS, CallResult, LocalFoundry, Settings
from foundry_cm.module.functions import Function
from foundry_cm.module.project import Project

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry

PANEL_PORT = 8947
SHOWN_ITEMS = 5


def serve(
    command: Command = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Processes of the module behind one queue. Default: min-replicas in pyproject.toml, or 1.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Calls that one replica runs at a time. Default: concurrency in pyproject.toml, or 1.",
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
    record: Record = None,
    env: Env = None,
    folder: Folder = Path(),
) -> None:
    """Run the module under the local Foundry, until Ctrl-C.

    The module talks to it through the official SDK, as it does to the real one. Nothing listens
    beyond this machine.
    """
    project = Project.read(folder).passing(env or [])
    settings = Settings.of(
        project,
        command=[] if container else project.command(command or []),
        replicas=replicas or project.replicas,
        concurrency=concurrency or project.concurrency,
        port=port,
        older=True,
        max_megabytes=max_megabytes or project.max_megabytes,
        record=record or [],
    )
    if container:
        settings = _in_container(settings, container, engine)
        reload = False
    wanted_panel = free_port(PANEL_PORT) if panel_port is None else panel_port
    asyncio.run(_serve(project, settings, wanted_panel, reload))


def _in_container(settings: Settings, ref: str, preferred: str | None) -> Settings:
    """The settings that run an image; what it runs is in the image, so a change needs cm build."""
    check_ref(ref)
    engine = find_engine(preferred)
    image = engine.inspect(ref)
    return dataclasses.replace(
        settings,
        command=[engine.name, "run", ref],
        host=engine.host_name(),
        launch=launcher(engine, image),
    )


async def _serve(project: Project, settings: Settings, panel_port: int, reload: bool) -> None:
    stop = terminal.told_to_stop()
    foundry = LocalFoundry(settings, _Terminal(settings.replicas))
    secret = secrets.token_urlsafe(24)
    app = panel_api.create_app(foundry, _show_call, secret=secret)
    runner, panel = await panel_api.serve(app, panel_port)
    try:
        async with foundry:
            _show_banner(foundry, panel)
            with announced(project.folder, panel, secret, foundry.remove_if_killed):
                reloading = asyncio.create_task(_reload(foundry, project, stop)) if reload else None
                await stop.wait()
                if reloading:
                    reloading.cancel()
                await _drain(foundry, stop)
    finally:
        await runner.cleanup()


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


async def _reload(foundry: LocalFoundry, project: Project, stop: asyncio.Event) -> None:
    await reload_on_change(
        project,
        stop,
        foundry.reload,
        command=foundry.settings.command,
        at_rest_since=foundry.at_rest_since,
    )


def _show_banner(foundry: LocalFoundry, panel: str) -> None:
    settings = foundry.settings
    count = f"{settings.replicas} replica{'s' if settings.replicas > 1 else ''}"
    label("cm serve  ", shlex.join(settings.command))
    say(f"  runtime  https://{foundry.address}  {count}, concurrency {settings.concurrency}")
    say(f"  panel    {panel}/api/functions")
    if foundry.registry:
        _show_data(foundry.registry, f"{panel}/api/data")


def _show_data(registry: Registry, everything: str) -> None:
    """What the module may read on the platform, and what a call names it by."""
    for each in registry.catalogue(SHOWN_ITEMS + 1):
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

    def declared(self, functions: Sequence[Function], warnings: Sequence[str]) -> None:
        for function in functions:
            label("function  ", function.signature(), text_style="cyan")
        for text in warnings:
            label("warning: ", text, style="bold yellow")
        if functions:
            say_next(f"cm call {functions[0].name}", "in a second terminal")
