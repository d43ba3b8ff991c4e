"""The panel of a module that answers calls: its functions, its replicas, and calls to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from foundry_cm.local.function.foundry import LocalFoundry
from foundry_cm.local.panel.app import Panel, create_app
from foundry_cm.local.panel.calls import OnCall, add_calls, timeout_of
from foundry_cm.local.panel.feed import changing
from foundry_cm.local.panel.findings import Findings
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.local.replica import Replica

if TYPE_CHECKING:
    from foundry_cm.module.functions import Function


def functions_app(
    foundry: LocalFoundry,
    recorder: Recorder,
    on_call: OnCall = lambda _name, _outcome: None,
    *,
    findings: Findings | None = None,
    secret: str = "",
) -> web.Application:
    """The panel of a local Foundry; `on_call` hears of every call and how it ended."""
    recorder.only_job = foundry.jobs.only_one
    recorder.started_at = lambda replica: next(
        (each.started_at for each in foundry.replicas if each.index == replica), 0.0
    )
    settings = foundry.settings
    panel = Panel(
        recorder,
        {
            "mode": "function",
            "command": list(settings.command),
            "concurrency": settings.concurrency,
            "maxBytes": foundry.max_bytes,
            "timeoutSeconds": settings.timeout_seconds,
        },
        lambda: foundry.registry,
        {
            "status": changing(lambda: status(foundry, recorder)),
            "functions": changing(lambda: {"declarations": recorder.declarations}),
        },
        findings,
        secret,
    )
    app = create_app(panel)
    app.add_routes(_about(foundry, recorder))
    add_calls(app, foundry, recorder, on_call)
    return app


def _about(foundry: LocalFoundry, recorder: Recorder) -> list[web.RouteDef]:
    async def functions(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "functions": [_shown(each) for each in foundry.functions.values()],
                "warnings": foundry.declarations.of_import,
            }
        )

    async def schemas(request: web.Request) -> web.StreamResponse:
        await foundry.ready(timeout_of(request))
        return web.json_response(foundry.declarations.whole())

    async def now(_request: web.Request) -> web.StreamResponse:
        return web.json_response(status(foundry, recorder))

    return [
        web.get("/api/functions", functions),
        web.get("/api/schemas", schemas),
        web.get("/api/status", now),
    ]


def _shown(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "signature": function.signature(),
        "schema": function.schema,
        "eventSchema": function.event_schema,
        "sampleEvent": function.sample_event(),
        "edgeEvent": function.sample_event(edge=True),
        "warnings": function.warnings(),
    }


def status(foundry: LocalFoundry, recorder: Recorder) -> dict[str, Any]:
    """What the module is at: its replicas and their states, the queue, and the load as Foundry counts it."""
    replicas = [_replica(foundry, recorder, each) for each in foundry.replicas]
    running = sum(each["running"] for each in replicas)
    # As Foundry counts it: replicas that are to end have no room.
    room = len(foundry.fleet.present) * foundry.settings.concurrency
    load = running / room if room else 0.0
    recorder.load.seen(foundry.jobs.queued, running, load)
    states = {each["state"] for each in replicas}
    return {
        "phase": _phase(states) if states or not foundry.fleet.scaler else "idle",
        "replicas": replicas,
        "wished": foundry.fleet.wished,
        "present": len(foundry.fleet.present),
        "scales": foundry.fleet.scaler is not None,
        "concurrency": foundry.settings.concurrency,
        "queued": foundry.jobs.queued,
        "running": running,
        "load": round(load, 3),
        "refused": recorder.refused,
        "edit": recorder.edit,
    }


def _phase(states: set[str]) -> str:
    if states & {"responsive", "busy"}:
        return "ready"
    # With no replica yet, the servers are being set up.
    return "crashed" if states and states <= {"dead", "stopped"} else "starting"


def _replica(foundry: LocalFoundry, recorder: Recorder, replica: Replica) -> dict[str, Any]:
    held = len(foundry.jobs.held(replica.index))
    state = _state(foundry, replica, held)
    return {
        "replica": replica.index,
        "state": state,
        "running": held,
        "starts": replica.starts,
        "pid": replica.pid,
        "died": recorder.deaths.get(replica.index),
        "ready": None if replica.ready_seconds is None else round(replica.ready_seconds, 3),
        "start": recorder.start_of(replica.index),
    }


def _state(foundry: LocalFoundry, replica: Replica, held: int) -> str:
    if not replica.alive:
        return "stopped" if replica.state == "stopped" else "dead"
    if foundry.jobs.is_held_back(replica.index):
        return "draining"
    if not replica.responsive:
        return "starting"
    return "busy" if held else "responsive"
