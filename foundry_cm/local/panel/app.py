"""What the panel offers of every module, whatever its mode: the page, what happens, logs, calls, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from foundry_cm import __version__
from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.panel import files, page
from foundry_cm.local.panel.access import guarded_app
from foundry_cm.local.panel.feed import Topic, follow
from foundry_cm.local.panel.findings import Findings
from foundry_cm.local.panel.recorder import Recorder
from foundry_cm.local.platform.errors import ApiError

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry


@dataclass
class Panel:
    """What the routes share. `facts` are those of the module that do not change while it runs."""

    recorder: Recorder
    facts: Mapping[str, Any]
    registry: Callable[[], Registry | None]
    topics: dict[str, Topic] = field(default_factory=dict)
    findings: Findings | None = None
    secret: str = ""

    @property
    def folder(self) -> Path:
        """The module's folder."""
        return self.recorder.folder


def create_app(panel: Panel) -> web.Application:
    """The application with the routes of every mode."""
    app = guarded_app(panel.secret)
    app.add_routes(page.routes())
    app.add_routes(_live(panel))
    app.add_routes(_events(panel))
    app.add_routes(_data(panel))
    return app


def _live(panel: Panel) -> list[web.RouteDef]:
    recorder = panel.recorder
    topics = {
        **panel.topics,
        "calls": recorder.history.since,
        "load": recorder.load.since,
        "logs": recorder.logs.since,
    }
    if panel.findings:
        topics["findings"] = panel.findings.since

    async def module(_request: web.Request) -> web.StreamResponse:
        about = {
            "name": panel.folder.name,
            "folder": str(panel.folder),
            "cwd": str(Path.cwd()),
            "began": recorder.began,
            "version": __version__,
        }
        return web.json_response({**about, **panel.facts})

    async def live(request: web.Request) -> web.StreamResponse:
        return await follow(request, topics)

    async def logs(request: web.Request) -> web.StreamResponse:
        before = int(request.query.get("before", 0)) or 2**62
        return _json({"lines": recorder.logs.before(before)})

    async def call(request: web.Request) -> web.StreamResponse:
        found = recorder.history.get(request.match_info["id"])
        if found is None:
            raise CmError("This call is no longer there", code="NotFound", exit_code=USAGE)
        return _json({"call": msgspec.to_builtins(found)})

    async def clear(_request: web.Request) -> web.StreamResponse:
        recorder.history.clear()
        return web.json_response({})

    return [
        web.get("/api/module", module),
        web.get("/api/live", live),
        web.get("/api/logs", logs),
        web.get("/api/calls/{id}", call),
        web.delete("/api/calls", clear),
    ]


def _events(panel: Panel) -> list[web.RouteDef]:
    async def names(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"events": files.event_names(panel.folder)})

    async def one(request: web.Request) -> web.StreamResponse:
        text = files.read_event(panel.folder, request.match_info["name"])
        return web.Response(body=text, content_type="application/json")

    async def save(request: web.Request) -> web.StreamResponse:
        name, replace = request.match_info["name"], request.query.get("replace") == "true"
        files.save_event(panel.folder, name, await request.read(), replace=replace)
        return web.json_response({"saved": f"events/{name}"})

    return [
        web.get("/api/events", names),
        web.get("/api/events/{name}", one),
        web.put("/api/events/{name}", save),
    ]


def _data(panel: Panel) -> list[web.RouteDef]:
    async def data(_request: web.Request) -> web.StreamResponse:
        registry = panel.registry()
        found: dict[str, Any] = {"data": registry.catalogue() if registry else []}
        if registry and registry.ontology:
            try:
                found["ontology"] = registry.ontology.described()
            except ApiError as error:
                return error.response()
        return web.json_response(found)

    async def image(request: web.Request) -> web.StreamResponse:
        return files.image(_known(panel), *_place(request))

    async def look(request: web.Request) -> web.StreamResponse:
        return web.json_response(await files.look(_known(panel), *_place(request)))

    return [
        web.get("/api/data", data),
        web.get("/api/data/image", image),
        web.get("/api/data/look", look),
    ]


def _known(panel: Panel) -> Registry:
    registry = panel.registry()
    if registry is None:
        raise CmError("The module has no access to data", code="NotFound", exit_code=USAGE)
    return registry


def _place(request: web.Request) -> tuple[str, str]:
    return request.query.get("rid", ""), request.query.get("item", "")


def _json(value: Any) -> web.Response:
    # A lone surrogate has no UTF-8: `json` writes it as JSON does, where msgspec refuses it.
    return web.Response(body=json.dumps(value).encode(), content_type="application/json")
